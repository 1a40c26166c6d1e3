from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.errors import CaptureError
from boardd_protos.dtypes import element
from support.capturing import Captured, captured
from support.mxnet_arrays import DTYPES, view_in_blocks
from support.waiting import wait_until

mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)

# MXNet 1.9.1 beside a newer SciPy.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

SHAPES = (
    (1,),
    (2,),
    (3,),
    (7,),
    (8,),
    (2, 3),
    (4, 5, 6),
    (1, 1, 1),
    *((1,) * n + (3,) for n in (6, 7, 12)),
)

#: A log call may cost the training thread this much, whatever the engine does.
CALL_SECS = 0.005


@pytest.fixture(autouse=True)
def _settled_engine() -> Iterator[None]:
    yield
    mx.nd.waitall()


def array(shape: tuple[int, ...], dtype: str) -> tuple[Any, np.ndarray]:
    values = (np.arange(np.prod(shape)) % 100 + 1).reshape(shape).astype(dtype)
    return mx.nd.array(values, dtype=dtype), values


def busy_engine(secs: float = 1.0) -> Any:
    """An array that the engine will have computed in about ``secs`` seconds, all zeros."""
    side = 1024
    matrix = mx.nd.ones((side, side))
    matrix.wait_to_read()
    start = time.perf_counter()
    mx.nd.dot(matrix, matrix).wait_to_read()
    products = max(4, int(secs / (time.perf_counter() - start)))
    result = matrix
    for _ in range(products):
        result = mx.nd.dot(result, matrix) * (1 / side)
    return result[0, :1] * 0


def begun(value: Any, *, is_scalar: bool) -> Any:
    tensor = capture.scalar(value, "loss") if is_scalar else capture.tensor(value, "values")
    return tensor.copy_into(memoryview(bytearray(tensor.size_bytes)))


def captured_scalar(value: Any) -> np.ndarray:
    tensor = capture.scalar(value, "loss")
    slot = memoryview(bytearray(tensor.size_bytes))
    tensor.copy_into(slot).wait()
    return np.frombuffer(slot, tensor.dtype).reshape(tensor.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    source, values = array(shape, dtype)
    result = Captured(source)
    assert (result.tensor.dtype, result.tensor.shape) == (dtype, shape)
    assert result.tensor.size_bytes == values.nbytes
    np.testing.assert_array_equal(result.values(), values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slices_and_reshapes(dtype: str) -> None:
    source, values = array((6, 4), dtype)
    np.testing.assert_array_equal(captured(source[2]), values[2])
    np.testing.assert_array_equal(captured(source[1:3]), values[1:3])
    np.testing.assert_array_equal(captured(source.reshape((3, 8))), values.reshape(3, 8))
    np.testing.assert_array_equal(captured(source[5][1:2]), values[5][1:2])


@pytest.mark.parametrize(
    "view_of",
    [
        lambda whole: whole.reshape((-1,)),
        lambda whole: whole.reshape((2, -1, 8)),
        lambda whole: whole.reshape((2,) * 12),
        lambda whole: whole[1:3],
        lambda whole: whole[1, 5],
        lambda whole: whole[1:3].reshape((-1,))[7:30],
        lambda whole: whole.expand_dims(0)[0, 3],
        lambda whole: whole[2, 3, 4, 5:6],
    ],
)
def test_views_of_arrays_in_blocks(view_of: Callable[[Any], Any]) -> None:
    expected = view_of(view_in_blocks((4, 16, 8, 8))).asnumpy()
    view = view_of(view_in_blocks((4, 16, 8, 8)))
    np.testing.assert_array_equal(captured(view), expected)
    mx.nd.waitall()  # the copy left no error there
    one = view_in_blocks((-1,))[777:778]
    assert capture.scalar(one, "loss").start().result() == one.asscalar()
    mx.nd.waitall()


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4)])
def test_bfloat16_is_widened_to_float32(shape: tuple[int, ...]) -> None:
    source, values = array(shape, "float32")
    result = Captured(source.astype(np.dtype([("bfloat16", np.uint16)])))
    assert result.tensor.dtype == "float32"
    np.testing.assert_array_equal(result.values(), values)


def test_bits_survive() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        values = np.array([np.inf, -np.inf, -0.0, np.nan, -np.nan], dtype)
        assert captured(mx.nd.array(values, dtype=dtype)).tobytes() == values.tobytes()
        assert np.isnan(captured(mx.nd.array([np.nan], dtype=dtype))).all()


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0), (3, 4)])
def test_numpy_arrays_of_mxnet(shape: tuple[int, ...]) -> None:
    mx.npx.set_np()
    try:
        source = mx.np.ones(shape) * 3
        inside = Captured(source)
        np.testing.assert_array_equal(inside.values(), np.full(shape, 3.0))
    finally:
        mx.npx.reset_np()
    # The switch is global and may be off again by the time an array is logged.
    outside = Captured(source)
    assert outside.tensor.shape == shape
    np.testing.assert_array_equal(outside.values(), np.full(shape, 3.0))
    if source.size == 1:
        assert capture.scalar(source, "value").shape == shape


def test_bool_of_numpy_arrays() -> None:
    assert captured(mx.np.array([1.0, 2.0]) > 1.5).tolist() == [False, True]


def test_never_waits_and_is_a_snapshot() -> None:
    # Another process may take the core at any moment: one attempt of a few must be quick.
    elapsed = []
    while min(elapsed, default=1.0) > CALL_SECS:
        assert len(elapsed) < 4, f"calls took {elapsed} s"
        elapsed.append(secs_to_capture_from_a_busy_engine())


def secs_to_capture_from_a_busy_engine() -> float:
    later = busy_engine()
    source = mx.nd.full((1 << 20,), 3) + later
    loss = source.mean()
    slots = memoryview(bytearray(source.size * 4)), memoryview(bytearray(8))
    start = time.perf_counter()
    pending = [
        capture.tensor(source, "values").copy_into(slots[0]),
        capture.scalar(loss, "loss").copy_into(slots[1]),
    ]
    elapsed = time.perf_counter() - start
    source[:] = 7
    loss[:] = 7
    enqueued = time.perf_counter() - start
    for copy in pending:
        copy.wait()
    assert time.perf_counter() - start > 20 * enqueued, "the engine was idle: nothing was shown"
    np.testing.assert_array_equal(np.frombuffer(slots[0], np.float32), 3)
    assert element(slots[1], "float64") == 3.0
    return elapsed


def test_the_gil_is_free_during_a_wait() -> None:
    result = Captured(mx.nd.ones((4,)) + busy_engine(0.5))
    waiter = threading.Thread(target=result.wait)
    waiter.start()
    ticks = 0
    while waiter.is_alive():
        ticks += 1
        time.sleep(0.001)
    assert ticks > 20, "the engine was idle, or the wait held the GIL"
    assert result.values().tolist() == [1, 1, 1, 1]


def test_ops_held_back_in_a_bulk() -> None:
    with mx.engine.bulk(1000):
        value = mx.nd.ones((8,)) + 1
        value = value * 3
        result = Captured(value)
        assert result.values().tolist() == [6] * 8
        value = value + 1
        cell = capture.scalar(value[:1], "loss").start()
        wait_until(cell.is_done, "the engine has the copy")
        assert cell.result() == 7
        # What follows is held back as before.
        sizes = [mx.engine.set_bulk_size(0) for _ in range(2)]
        assert sizes == [1000, 0]


def failing() -> Any:
    return mx.nd.random.normal(0, -1, (4,))  # its scale is checked on the engine


@pytest.mark.parametrize("cast", [None, "int8", "int32", "bool"])
def test_a_failed_operation_is_reported_and_left_to_the_script(cast: str | None) -> None:
    value = failing()
    result = Captured(value if cast is None else value.astype(cast)[:1])
    with pytest.raises(CaptureError, match="operation that the value depends on failed"):
        result.wait()
    with pytest.raises(mx.MXNetError, match="scale"):
        value.wait_to_read()


def test_a_failed_operation_whose_error_the_script_has_taken() -> None:
    value = failing()
    result = Captured(value)
    mx.nd.ones((1,)).wait_to_read()  # the engine is past the copy
    with pytest.raises(mx.MXNetError, match="scale"):
        value.wait_to_read()
    with pytest.raises(CaptureError):
        result.wait()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scalar_of_every_dtype_becomes_float64(dtype: str) -> None:
    for shape in ((1,), (1, 1, 1)):
        for _ in range(3):  # the second and third use the memory of the first
            result = captured_scalar(mx.nd.ones(shape, dtype=dtype))
            assert (result.dtype, result.shape, result.item()) == (np.float64, shape, 1.0)
    with mx.autograd.record():
        assert capture.scalar(mx.nd.ones((1,), dtype=dtype), "loss").start().result() == 1.0


@pytest.mark.parametrize("value", [np.inf, -np.inf, -0.0, np.nan, 1 / 3])
def test_bits_of_scalars_survive(value: float) -> None:
    for dtype in ("float16", "float32", "float64"):
        expected = np.float64(np.dtype(dtype).type(value))
        result = capture.scalar(mx.nd.array([value], dtype=dtype), "loss").start().result()
        assert np.float64(result).tobytes() == expected.tobytes()


def test_scalars_of_numpy_arrays_and_bfloat16() -> None:
    bfloat16 = mx.nd.array([1.5]).astype(np.dtype([("bfloat16", np.uint16)]))
    assert capture.scalar(bfloat16, "loss").start().result() == 1.5
    mx.npx.set_np()
    try:
        value = mx.np.full((), 2.5)
        assert capture.scalar(value, "loss").start().result() == 2.5
    finally:
        mx.npx.reset_np()
    assert capture.scalar(value, "loss").start().result() == 2.5


def test_scalars_are_snapshots_in_call_order() -> None:
    accumulated = busy_engine(0.2)
    pending = []
    for step in range(100):
        accumulated += 1
        pending.append((step + 1, capture.scalar(accumulated, "loss").start()))
    accumulated[:] = -1
    for expected, value in pending:
        assert value.result() == expected


@pytest.mark.parametrize("is_scalar", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_whether_a_copy_is_done_is_known_without_waiting(dtype: str, is_scalar: bool) -> None:
    value = (busy_engine(0.3) + 3).astype(dtype)
    pending = [begun(value, is_scalar=is_scalar) for _ in range(3)]
    assert not any(copy.is_done() for copy in pending), "the engine was idle"
    assert not pending[0].is_done()
    wait_until(lambda: all(copy.is_done() for copy in pending), "the copies are complete")
    assert all(copy.is_done() for copy in pending)
    for copy in pending:
        copy.wait()
    again = begun(value, is_scalar=is_scalar)
    again.wait()


@pytest.mark.parametrize("is_scalar", [False, True])
def test_a_failed_copy_is_done_and_leaves_the_next_alone(is_scalar: bool) -> None:
    value = failing()[:1]
    pending = [begun(value, is_scalar=is_scalar) for _ in range(3)]
    wait_until(lambda: all(copy.is_done() for copy in pending), "the copies are given up")
    for copy in pending:
        with pytest.raises(CaptureError, match="failed"):
            copy.wait()
    with pytest.raises(mx.MXNetError, match="scale"):
        value.wait_to_read()
    assert captured(mx.nd.ones((2,))).tolist() == [1, 1]
    assert [captured_scalar(mx.nd.full((1,), n)).tolist() for n in range(4)] == [[0], [1], [2], [3]]


def test_values_equal_to_the_mark_of_an_unwritten_slot_in_part() -> None:
    pattern = bytes.fromhex("b1e4a35c967d2ff8")
    for count in range(1, 8):
        values = np.frombuffer(pattern[-count:], np.uint8)
        assert captured(mx.nd.array(values, dtype="uint8")).tobytes() == values.tobytes()


@pytest.mark.parametrize("recorded", [False, True])
def test_recording_of_gradients_is_untouched(recorded: bool) -> None:
    weight = mx.nd.array([1.0, 2.0, 3.0])
    weight.attach_grad()
    with mx.autograd.record():
        product = weight * weight
        if recorded:
            seen = [Captured(weight), Captured(product), Captured(product[:1].astype("int32"))]
            assert mx.autograd.is_recording()
            assert mx.autograd.is_training()
        loss = product.sum()
    loss.backward()
    assert weight.grad.asnumpy().tolist() == [2, 4, 6]
    if recorded:
        assert captured(weight.grad).tolist() == [2, 4, 6]
        assert [result.values().tolist() for result in seen] == [[1, 2, 3], [1, 4, 9], [1]]


def test_parameters_and_gradients_of_gluon() -> None:
    net = mx.gluon.nn.Dense(3, in_units=2)
    net.initialize()
    net.hybridize(static_alloc=True)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1.0})
    seen = []
    for step in range(3):
        with mx.autograd.record():
            loss = net(mx.nd.full((4, 2), step + 1)).sum()
        loss.backward()
        expected = net.weight.data().copy(), net.weight.grad().copy(), loss.copy()
        seen.append((Captured(net.weight.data()), expected[0]))
        seen.append((Captured(net.weight.grad()), expected[1]))
        seen.append((Captured(loss), expected[2]))
        trainer.step(4)
    for result, value in seen:
        np.testing.assert_array_equal(result.values(), value.asnumpy())


def test_refused() -> None:
    sparse = mx.nd.array([[0, 1], [0, 0]]).tostype("row_sparse")
    with pytest.raises(TypeError, match=r"'row_sparse': pass grad\.tostype\('default'\)"):
        capture.tensor(sparse, "grad")
    with pytest.raises(TypeError, match=r"'csr'"):
        capture.scalar(mx.nd.array([[1]]).tostype("csr"), "loss")
    with pytest.raises(TypeError, match=r"Parameter.*pass weight\.data\(\)"):
        capture.tensor(mx.gluon.Parameter("w", shape=(1,)), "weight")
    with pytest.raises(TypeError, match="Symbol"):
        capture.scalar(mx.sym.var("x"), "loss")
    with pytest.raises(ValueError, match=r"loss is a .*NDArray of shape \(2, 2\)"):
        capture.scalar(mx.nd.ones((2, 2)), "loss")
    with pytest.raises(TypeError, match=r"list of mxnet.*stack"):
        capture.tensor([mx.nd.ones((2,)), mx.nd.ones((2,))], "values")


def test_many_threads_capture_at_once() -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(50):
                value = mx.nd.full((100,), number * 1000 + step)
                result = Captured(value)
                loss = value[:1]
                scalar = capture.scalar(loss, "loss").start()
                value[:] = -1
                assert scalar.result() == number * 1000 + step
                assert set(result.values().tolist()) == {number * 1000 + step}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


SUBPROCESS = """
import warnings
warnings.simplefilter("ignore")
import mxnet as mx
from support.capturing import Captured
{body}
print("done", flush=True)
"""

BODIES = {
    "exit with copies under way": """
matrix = mx.nd.ones((1500, 1500))
for _ in range(40):
    matrix = mx.nd.dot(matrix, matrix) * 0
kept = [Captured(matrix) for _ in range(20)]
""",
    "a slot dropped with its copy under way": """
matrix = mx.nd.ones((1000, 1000))
for _ in range(20):
    matrix = mx.nd.dot(matrix, matrix) * 0
Captured(matrix)
mx.nd.waitall()
""",
    "a forked child": """
import os
from boardd_client import capture
def capture_both():
    value = mx.nd.ones((3,)) + 1
    assert Captured(value).values().tolist() == [2, 2, 2]
    assert capture.scalar(value[:1], "loss").start().result() == 2
capture_both()
child = os.fork()
if not child:
    capture_both()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
capture_both()
""",
    "the synchronous engine": """
import os
assert os.environ["MXNET_ENGINE_TYPE"] == "NaiveEngine"
assert Captured(mx.nd.ones((3,)) + 1).values().tolist() == [2, 2, 2]
assert Captured(mx.nd.array([5], dtype="int8")).values().tolist() == [5]
""",
}


@pytest.mark.parametrize("case", BODIES)
def test_processes_that_end_well(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", __file__.rpartition("/unit/")[0])
    if "synchronous" in case:
        monkeypatch.setenv("MXNET_ENGINE_TYPE", "NaiveEngine")
    code = SUBPROCESS.format(body=BODIES[case])
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
