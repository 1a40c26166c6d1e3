"""MXNet arrays that are captured together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.capture.joined import joined
from boardd_client.errors import CaptureError
from numpy.typing import NDArray
from support.mxnet_arrays import DTYPES, view_in_blocks

mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)

# MXNet 1.9.1 beside a newer SciPy.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


@pytest.fixture(autouse=True)
def _settled_engine() -> Iterator[None]:
    yield
    mx.nd.waitall()


class Together:
    """Arrays of one dtype whose capture has begun."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        (tensor,), self._order = joined([capture.tensor(array, "value") for array in arrays])
        self._dtype = tensor.dtype
        self._slot = memoryview(bytearray(tensor.size_bytes))
        self._pending = tensor.copy_into(self._slot)
        self._sizes = [array.size for array in arrays]

    def values(self) -> list[list[float]]:
        """The elements of each array."""
        if self._pending is not None:
            self._pending.wait()
        values: list[list[float]] = [[] for _ in self._sizes]
        at = 0
        for index in self._order:
            end = at + self._sizes[index]
            values[index] = np.frombuffer(self._slot, self._dtype)[at:end].tolist()
            at = end
        return values


def flat(array: Any) -> list[float]:
    found: NDArray[Any] = array.asnumpy().ravel()
    return [float(value) for value in found]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_all_shapes_lie_one_after_the_other(dtype: str) -> None:
    base = mx.nd.arange(60).astype(dtype)
    arrays = [
        base.reshape((3, 4, 5)),
        base[7:8],
        base.reshape((6, 10))[2:4],
        base[:5],
        base[:5],
        *(base.reshape((3, 4, 5) + (1,) * (dimensions - 3)) for dimensions in (6, 7, 8, 13)),
    ]
    assert Together(arrays).values() == [flat(array) for array in arrays]
    mx.nd.waitall()  # no copy left an error there


def test_views_of_arrays_in_blocks() -> None:
    view = view_in_blocks((4, -1))
    arrays = [view, mx.nd.arange(3), view[1:2], view.reshape((-1,))]
    assert Together(arrays).values() == [flat(array) for array in arrays]
    mx.nd.waitall()


def test_float32_and_bfloat16_share_a_slot() -> None:
    plain = [mx.nd.arange(6).reshape((2, 3)), mx.nd.arange(5)]
    wide = mx.nd.array([1.5, -2.0]).astype(np.dtype([("bfloat16", np.uint16)]))
    assert Together([plain[0], wide, plain[1]]).values() == [
        flat(plain[0]),
        [1.5, -2],
        flat(plain[1]),
    ]


def test_arrays_with_numpys_semantics() -> None:
    with mx.util.np_shape(True):
        arrays = [mx.np.array([1.0, 2.0]), mx.np.array(3.0), mx.np.ones((0, 2)), mx.np.ones((2, 2))]
        assert Together(arrays).values() == [[1, 2], [3], [], [1, 1, 1, 1]]


def test_bits_survive() -> None:
    bits = np.array([0x7F800001, 0xFF800000, 0x80000000, 0x7FC12345, 1], np.uint32)
    array = mx.nd.from_numpy(bits.view(np.float32).copy())
    tensor = joined([capture.tensor(array, "value")] * 2)[0][0]
    slot = memoryview(bytearray(tensor.size_bytes))
    tensor.copy_into(slot).wait()
    assert np.frombuffer(slot, np.uint32).tolist() == [*bits.tolist(), *bits.tolist()]


def test_a_snapshot_in_the_order_of_the_program() -> None:
    first, second = mx.nd.zeros((1000,)), mx.nd.zeros((10, 10))
    seen = []
    for _ in range(20):
        first += 1
        second += 2
        seen.append(Together([first, second]))
        first[:] = first * 1  # what comes later is not seen
    for step, together in enumerate(seen, start=1):
        assert together.values() == [[step] * 1000, [2 * step] * 100]


def test_what_one_array_failed_to_yield_is_told_and_left_to_the_script() -> None:
    failing = mx.nd.random.normal(0, -1, (4,))  # its scale is checked on the engine
    good = mx.nd.ones((3,))
    together = Together([good, failing])
    with pytest.raises(CaptureError, match="operation that the value depends on failed"):
        together.values()
    with pytest.raises(mx.MXNetError, match="scale"):
        failing.wait_to_read()
    assert Together([good, good]).values() == [[1] * 3] * 2


def test_it_is_not_part_of_what_is_recorded() -> None:
    weight = mx.nd.array([1.0, 2.0, 3.0])
    weight.attach_grad()
    with mx.autograd.record():
        product = weight * weight
        together = Together([weight, product.reshape((3, 1))])
        assert mx.autograd.is_recording()
        loss = product.sum()
    loss.backward()
    assert flat(weight.grad) == [2, 4, 6]
    assert together.values() == [[1, 2, 3], [1, 4, 9]]
