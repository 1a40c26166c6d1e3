from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.errors import CaptureError
from boardd_protos.dtypes import element
from support.capturing import Captured, captured
from support.waiting import wait_until

jax = pytest.importorskip("jax", reason="needs jax", exc_type=ImportError)
jnp = pytest.importorskip("jax.numpy", reason="needs jax", exc_type=ImportError)

DTYPES = (
    *("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32"),
    *("float16", "bfloat16", "float32"),
)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2
    source = jnp.asarray(values).astype(dtype)
    result = Captured(source)
    assert (result.tensor.dtype, result.tensor.shape) == (dtype, shape)
    assert result.tensor.size_bytes == source.nbytes
    np.testing.assert_array_equal(result.values(), values)


def test_results_of_compiled_functions_are_read_later() -> None:
    @jax.jit
    def work(x: Any) -> Any:
        for _ in range(20):
            x = x @ x / 500
        return x

    result = Captured(work(jnp.ones((500, 500))))
    assert result.pending is not None
    np.testing.assert_allclose(result.values(), np.ones((500, 500)), rtol=1e-4)


@jax.jit
def long_work(x: Any) -> Any:
    return jax.lax.fori_loop(0, 60, lambda _, y: y @ x, x)


def test_scalars_under_way_are_lazy() -> None:
    matrix = jnp.full((600, 600), 1 / 600)
    long_work(matrix).block_until_ready()  # compiled
    result = long_work(matrix)
    loss = capture.scalar(result.sum(), "loss")
    assert not result.is_ready(), "it was done: nothing was shown"
    assert not isinstance(loss, float)
    slot = memoryview(bytearray(loss.size_bytes))
    pending = loss.copy_into(slot)
    assert pending is not None
    assert not pending.is_done()
    wait_until(pending.is_done, "the value is there")
    pending.wait()
    assert element(slot, loss.dtype) == pytest.approx(600, rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_of_the_host_that_are_there_are_read_at_once(dtype: str) -> None:
    for value in (jnp.ones((), dtype), jnp.ones((1, 1), dtype)):
        result = capture.scalar(value.block_until_ready(), "loss")
        assert type(result) is float
        assert result == 1.0


def test_scalars_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"loss is a .* of shape \(2,\)"):
        capture.scalar(jnp.ones(2), "loss")


def test_an_array_deleted_before_it_was_read() -> None:
    source = jnp.arange(1000) + 1
    result = Captured(source)
    source.delete()
    assert result.pending is not None
    assert result.pending.is_done()
    with pytest.raises(CaptureError, match="deleted"):
        result.wait()
    with pytest.raises(ValueError, match="values is a JAX array that was deleted or donated"):
        capture.tensor(source, "values")


def test_refused() -> None:
    def log(x: Any) -> Any:
        with pytest.raises(TypeError, match=r"traced .*jax\.debug\.callback"):
            capture.tensor(x, "values")
        with pytest.raises(TypeError, match="loss is traced"):
            capture.scalar(x, "loss")
        return x

    jax.jit(log)(jnp.ones(()))
    with pytest.raises(TypeError, match="dtype complex64"):
        capture.tensor(jnp.ones(2) * 1j, "values")
    with pytest.raises(TypeError, match="dtype key"):
        capture.tensor(jax.random.key(0), "values")
    with pytest.raises(TypeError, match=r"list of jaxlib.*stack"):
        capture.tensor([jnp.ones(2)], "values")
    jax.debug.callback(lambda x: np.testing.assert_array_equal(captured(x), [1.0]), jnp.ones(1))
