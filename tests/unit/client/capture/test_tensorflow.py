from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.errors import CaptureError
from boardd_protos.dtypes import ITEM_BYTES, element
from support.capturing import Captured, captured

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, at import
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow", exc_type=ImportError)

VALUES = np.arange(12).reshape(3, 4)


def as_tensor(values: np.ndarray, dtype: str) -> Any:
    return tf.cast(tf.constant(values), tf.as_dtype(dtype))


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 4)])
@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2
    source = as_tensor(values, dtype)
    result = Captured(source)
    assert (result.tensor.dtype, result.tensor.shape) == (dtype, shape)
    assert result.tensor.size_bytes == source.dtype.size * values.size
    np.testing.assert_array_equal(result.values(), values)


def test_a_tensor_is_held_and_read_later() -> None:
    result = Captured(tf.constant([1.0, 2.0]))
    assert result.pending is not None
    assert not any(result.slot)
    assert result.values().tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_a_variable_is_read_at_the_call(dtype: str) -> None:
    variable = tf.Variable(as_tensor(VALUES, dtype))
    writes = (
        lambda: variable.assign(as_tensor(VALUES + 1, dtype)),
        lambda: variable.assign_add(as_tensor(VALUES, dtype)),
        lambda: variable.assign_sub(as_tensor(VALUES, dtype)),
        lambda: variable[1:2].assign(as_tensor(VALUES[:1] + 50, dtype)),
        lambda: variable.scatter_nd_update([[0]], as_tensor(VALUES[:1] + 70, dtype)),
    )
    for write in writes:
        expected = np.asarray(tf.cast(variable, tf.float64)).copy()
        result = Captured(variable)
        write()
        assert not np.array_equal(np.asarray(tf.cast(variable, tf.float64)), expected)
        assert result.tensor.dtype == dtype
        np.testing.assert_array_equal(result.values(), expected)


def test_an_optimizer_step_does_not_reach_what_was_captured() -> None:
    weights = [tf.Variable(tf.ones((50, 50))), tf.Variable(tf.zeros(50))]
    optimizer = tf.keras.optimizers.Adam(0.1)
    seen = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((tf.ones((2, 50)) @ weights[0] + weights[1]) ** 2)
        gradients = tape.gradient(loss, weights)
        for value in (*weights, *gradients):
            seen.append((Captured(value), value.numpy().copy()))
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
    for result, expected in seen:
        np.testing.assert_array_equal(result.values(), expected)
    assert not np.array_equal(seen[0][1], seen[4][1])


@pytest.mark.parametrize("trainable", [True, False])
def test_variables_of_keras(trainable: bool) -> None:
    variable = tf.keras.Variable(VALUES.astype("float32"), trainable=trainable)
    result = Captured(variable)
    variable.assign(VALUES * 2)
    np.testing.assert_array_equal(result.values(), VALUES)
    assert capture.scalar(tf.keras.Variable(2.5), "rate") == 2.5
    layer = tf.keras.layers.Dense(3)
    layer.build((None, 4))
    np.testing.assert_array_equal(captured(layer.kernel), layer.kernel.numpy())
    with pytest.raises(TypeError, match="values is a KerasTensor, which has no values"):
        capture.tensor(tf.keras.Input((2,)), "values")
    with pytest.raises(TypeError, match=r"values is a .*Dense, expected an array"):
        capture.tensor(layer, "values")


def test_a_mirrored_variable_is_captured() -> None:
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        variable = tf.Variable([1.0, 2.0])
    assert captured(variable).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, 1.5), (True, 1.0), ([[2]], 2.0), (float("inf"), float("inf"))],
)
def test_scalars_of_the_host_are_read_at_once(value: Any, expected: float) -> None:
    for source in (tf.constant(value), tf.Variable(value)):
        result = capture.scalar(source, "loss")
        assert type(result) is float
        assert result == expected
    assert capture.scalar(tf.constant(1.5, tf.bfloat16), "loss") == 1.5


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 2)])
def test_scalars_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"loss is a .*EagerTensor of shape"):
        capture.scalar(tf.zeros(shape), "loss")


@pytest.fixture
def asynchronous() -> Iterator[None]:
    tf.config.experimental.set_synchronous_execution(False)
    yield
    tf.config.experimental.set_synchronous_execution(True)


def test_scalars_are_lazy_where_execution_is_asynchronous(asynchronous: None) -> None:
    loss = capture.scalar(tf.reduce_mean(tf.ones(10)), "loss")
    assert not isinstance(loss, float)
    slot = memoryview(bytearray(loss.size_bytes))
    pending = loss.copy_into(slot)
    assert pending is not None
    pending.wait()
    assert element(slot, loss.dtype) == 1.0


FAILURE = """
import os
import tensorflow as tf
from boardd_client import capture

tf.config.experimental.set_synchronous_execution(False)
try:
    capture.tensor(tf.debugging.check_numerics(tf.constant([float("nan")]), "bad"), "values")
except ValueError as error:
    print(error, flush=True)
os._exit(0)  # TensorFlow's executor raises the error again and again
"""


@pytest.mark.slow
def test_a_tensor_whose_operation_failed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILURE], capture_output=True, text=True, timeout=120
    )
    assert "values is a TensorFlow tensor without values: " in done.stdout, done.stderr
    assert "bad : Tensor had NaN values" in done.stdout


def test_a_tensor_that_does_not_yield_its_values_loses_the_record_only() -> None:
    from boardd_client.capture.tensorflow import TensorFlowTensor

    @tf.function
    def step(x: Any) -> Any:
        pending = TensorFlowTensor(x, "float32", 4).copy_into(memoryview(bytearray(8)))
        with pytest.raises(CaptureError, match="TensorFlow did not yield the values"):
            pending.wait()
        return x

    step(tf.constant([3.0, 4.0]))


def test_inside_a_function_there_are_no_values() -> None:
    variable = tf.Variable([1.0])
    seen = []

    @tf.function
    def step(x: Any) -> Any:
        with pytest.raises(TypeError, match=r"loss is a symbolic .*tf\.py_function"):
            capture.scalar(tf.reduce_sum(x), "loss")
        with pytest.raises(TypeError, match=r"weight is a TensorFlow variable inside tf\.function"):
            capture.tensor(variable, "weight")
        tf.py_function(lambda y: seen.append(captured(y).tolist()), [x], [])
        return x

    step(tf.constant([3.0, 4.0]))
    assert seen == [[3, 4]]


REFUSED = [
    (lambda: tf.ragged.constant([[1], [1, 2]]), r"RaggedTensor: pass grad\.to_tensor\(\)"),
    (lambda: tf.sparse.from_dense([[1.0, 0]]), r"SparseTensor: pass tf\.sparse\.to_dense\(grad\)"),
    (
        lambda: tf.IndexedSlices(tf.ones((1, 2)), tf.constant([0])),
        r"IndexedSlices: pass tf\.convert_to_tensor\(grad\)",
    ),
    (lambda: tf.TensorArray(tf.float32, 1), r"TensorArray: pass grad\.stack\(\)"),
    (lambda: tf.constant("text"), "dtype string"),
    (lambda: tf.constant(1j), "dtype complex128"),
    (lambda: tf.cast([1], tf.qint8), "dtype qint8"),
    (lambda: tf.float32, "TensorFlow DType, expected a Tensor"),
    (lambda: tf.data.Dataset.range(2), "expected a Tensor"),
    (lambda: [tf.constant(1.0)], "list of tensorflow.*stack"),
]


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_refused(make: Any, text: str) -> None:
    value = make()
    for call in (capture.tensor, capture.scalar):
        with pytest.raises(TypeError, match=text) as raised:
            call(value, "grad")
        assert str(raised.value).startswith("grad ")


def test_a_list_that_tensorflow_tracks_is_a_list() -> None:
    module = tf.Module()
    module.rates = [1.0, 2.0]
    assert type(module.rates) is not list
    assert captured(module.rates).tolist() == [1, 2]


def test_variables_of_a_shape_that_changes() -> None:
    variable = tf.Variable([1.0], shape=tf.TensorShape(None))
    assert captured(variable).tolist() == [1]
    variable.assign([[1.0, 2.0]])
    assert captured(variable).tolist() == [[1, 2]]
