"""Many tensors, captured as one of each dtype."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.capture.joined import joined
from boardd_client.errors import CaptureError
from support.capturing import WAIT_SECS


def captured(values: list[Any]) -> list[np.ndarray]:
    """The values of each of ``values``, flat, after they were captured together."""
    made, order = joined([capture.tensor(value, "value") for value in values])
    assert len({tensor.dtype for tensor in made}) == len(made)
    parts: list[np.ndarray] = []
    for tensor in made:
        slot = memoryview(bytearray(tensor.size_bytes))
        pending = tensor.copy_into(slot)
        if pending is not None:
            pending.wait()
        dtype = "uint16" if tensor.dtype == "bfloat16" else tensor.dtype
        parts.append(np.frombuffer(slot, np.dtype(dtype).newbyteorder("<")))
        assert tensor.shape == parts[-1].shape
    assert sorted(order) == list(range(len(values)))
    found: list[np.ndarray] = [np.empty(0)] * len(values)
    rest = iter(parts)
    part, at = next(rest), 0
    for index in order:
        while at == len(part) and np.size(values[index]):
            part, at = next(rest), 0
        size = int(np.prod(values[index].shape))
        found[index] = part[at : at + size]
        at += size
    return found


def test_arrays_of_several_dtypes_and_layouts() -> None:
    values = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(4, dtype=np.int16),
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(5, dtype=">f4"),
        np.array([True, False]),
        np.float32(7),
        np.arange(8, dtype=np.int16)[::-2],
    ]
    for value, found in zip(values, captured(values), strict=True):
        np.testing.assert_array_equal(found, np.ravel(value))


def test_torch_tensors_of_every_dtype_and_layout() -> None:
    torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
    base = torch.arange(24).reshape(4, 6)
    values = []
    for dtype in (torch.float32, torch.float16, torch.float64, torch.int8, torch.bool):
        values += [base.to(dtype), base.to(dtype).t(), base.to(dtype)[:, ::2]]
    values.append(torch.nn.Parameter(torch.ones(3)))
    for value, found in zip(values, captured(values), strict=True):
        np.testing.assert_array_equal(found, value.detach().reshape(-1).numpy())
    halves = [base.bfloat16(), base.bfloat16().t()]
    for value, found in zip(halves, captured(halves), strict=True):
        np.testing.assert_array_equal(found, value.reshape(-1).view(torch.int16).numpy())


def test_tensors_on_a_device_share_one_clone() -> None:
    torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    base = torch.arange(24, device="cuda").reshape(4, 6)
    values = [base.float(), base.float().t(), base.half(), base.float()[:, ::2]]
    tensors = [capture.tensor(value, "value") for value in values]
    made, _ = joined(tensors)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    slots = [memoryview(bytearray(tensor.size_bytes)) for tensor in made]
    pendings = [tensor.copy_into(slot) for tensor, slot in zip(made, slots, strict=True)]
    flattened = 2  # copies of what is not contiguous
    assert torch.cuda.memory_stats()["allocation.all.allocated"] - before <= 2 + flattened
    for pending in pendings:
        assert pending is not None
        pending.wait()
    expected = torch.cat([values[0].reshape(-1), values[1].reshape(-1), values[3].reshape(-1)])
    np.testing.assert_array_equal(np.frombuffer(slots[0], np.float32), expected.cpu().numpy())


class Slow:
    """A tensor whose copy ends, or fails, when a test says so."""

    dtype, shape, size_bytes = "float32", (1,), 4

    def __init__(self, error: Exception | None = None) -> None:
        self.done = threading.Event()
        self.waited = False
        self.error = error

    def copy_into(self, slot: memoryview) -> Slow:
        return self

    def is_done(self) -> bool:
        return self.done.is_set()

    def wait(self) -> None:
        assert self.done.wait(WAIT_SECS)
        self.waited = True
        if self.error is not None:
            raise self.error


def test_all_copies_are_waited_for_also_after_one_has_failed() -> None:
    parts = [Slow(ValueError("device lost")), Slow(CaptureError("later")), Slow()]
    ((tensor,), _) = joined(parts)
    pending = tensor.copy_into(memoryview(bytearray(12)))
    assert pending is not None
    for part in parts:
        assert not pending.is_done()
        part.done.set()
    assert pending.is_done()
    with pytest.raises(CaptureError, match="ValueError: device lost"):
        pending.wait()
    assert all(part.waited for part in parts)


class Raising(Slow):
    def copy_into(self, slot: memoryview) -> Slow:
        raise MemoryError("no pages")


def test_a_copy_that_cannot_begin_does_not_lose_sight_of_the_others() -> None:
    parts = [Slow(), Raising()]
    tensors, _ = joined(parts)
    pendings = [tensor.copy_into(memoryview(bytearray(tensor.size_bytes))) for tensor in tensors]
    parts[0].done.set()
    failures = []
    for pending in pendings:
        assert pending is not None
        try:
            pending.wait()
        except CaptureError as error:
            failures.append(str(error))
    assert failures == ["MemoryError: no pages"]
    assert parts[0].waited
