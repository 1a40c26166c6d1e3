"""Capture of PyTorch tensors.

A CPU tensor is copied at once. A tensor of a device is first cloned there, on
the stream that computes it, so that the clone is a snapshot in program order
and the host only enqueues; the transfer to the host happens in ``wait``, on a
stream of its own that waits for the clone, so that neither the training thread
nor the training's stream waits for the bus. The price is device memory for one
clone until the transfer is done.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from boardd_client.capture import Pending
from boardd_client.capture.host import not_one_element, unsupported_dtype
from boardd_client.capture.pending import Failed
from boardd_client.errors import CaptureError

_NAMES: Final = {
    getattr(torch, name): name
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64"),
    )
    if hasattr(torch, name)  # uint16 and wider since PyTorch 2.3
}


class HostTensor:
    """A CPU tensor; ``copy_into`` is one copy, made at once."""

    __slots__ = ("_tensor", "dtype", "shape", "size_bytes")

    def __init__(self, value: Any, dtype: str) -> None:
        self._tensor = value
        self.dtype = dtype
        self.shape = tuple(value.shape)
        self.size_bytes: int = value.numel() * value.element_size()

    def copy_into(self, slot: memoryview) -> None:
        """Copies the elements to ``slot``; PyTorch releases the GIL meanwhile."""
        _copy(self._tensor, slot)


class DeviceTensor:
    """A tensor of a device; ``copy_into`` enqueues a clone there and returns."""

    __slots__ = ("_tensor", "dtype", "shape", "size_bytes")

    def __init__(self, value: Any, dtype: str) -> None:
        self._tensor = value
        self.dtype = dtype
        self.shape = tuple(value.shape)
        self.size_bytes: int = value.numel() * value.element_size()

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Enqueues the clone."""
        if self.size_bytes == 0:
            return None
        value = self._tensor
        is_cuda = value.device.type == "cuda"
        if is_cuda and torch.cuda.is_current_stream_capturing():
            return Failed("a CUDA graph was being captured; log outside the capture")
        try:
            with torch.no_grad():
                clone = value.clone(memory_format=torch.contiguous_format)
            if is_cuda:
                return _CudaCopy(clone, slot)
        except RuntimeError as error:  # torch.cuda.OutOfMemoryError is one
            return Failed(f"no snapshot of a tensor on {value.device}: {error}")
        return _DeviceCopy(clone, slot)


class _CudaCopy:
    """The transfer of a clone that the current CUDA stream is to make."""

    def __init__(self, clone: Any, slot: memoryview) -> None:
        self._clone = clone
        self._slot = slot
        self._cloned = torch.cuda.Event()
        self._cloned.record(torch.cuda.current_stream(clone.device))

    def wait(self) -> None:
        """Transfers the clone, after it was made."""
        try:
            stream = _side_stream(self._clone.device)
            stream.wait_event(self._cloned)
            with torch.cuda.stream(stream):
                _copy(self._clone, self._slot)
            stream.synchronize()
        except RuntimeError as error:
            raise CaptureError(f"the transfer from {self._clone.device} failed: {error}") from None
        finally:
            # Only now: the allocator may hand the memory out to the training's
            # stream, which knows nothing of the side stream's read.
            del self._clone


class _DeviceCopy:
    """The transfer of a clone on a device other than CUDA's."""

    def __init__(self, clone: Any, slot: memoryview) -> None:
        self._clone = clone
        self._slot = slot

    def wait(self) -> None:
        """Transfers the clone."""
        try:
            _copy(self._clone, self._slot)
        except RuntimeError as error:
            raise CaptureError(f"the transfer from {self._clone.device} failed: {error}") from None


_side_streams: dict[int, Any] = {}


def _side_stream(device: Any) -> Any:
    stream = _side_streams.get(device.index)
    if stream is None:
        stream = _side_streams[device.index] = torch.cuda.Stream(device)
    return stream


def _copy(value: Any, slot: memoryview) -> None:
    """Copies ``value`` to ``slot``; its conjugate and negative bits are resolved."""
    if value.numel():
        target = torch.frombuffer(slot, dtype=value.dtype, count=value.numel())
        target.reshape(value.shape).copy_(value)


def tensor(value: object, what: str) -> HostTensor | DeviceTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{what} is a torch {type(value).__name__}, expected a Tensor")
    if hasattr(value, "to_local"):
        raise TypeError(
            f"{what} is a torch {type(value).__name__}, spread over processes: pass "
            f"{what}.to_local() for this process's part, or {what}.full_tensor()"
        )
    if value.layout != torch.strided or value.is_nested:
        raise TypeError(
            f"{what} is a torch tensor of layout {value.layout}: pass {what}.to_dense()"
        )
    if value.is_quantized:
        raise TypeError(
            f"{what} is a quantized torch tensor ({value.dtype}): pass {what}.dequantize()"
        )
    if value.device.type == "meta":
        raise TypeError(f"{what} is a torch tensor on the meta device, which has no values")
    dtype = _NAMES.get(value.dtype)
    if dtype is None:
        raise unsupported_dtype(value, what, str(value.dtype))
    if value.device.type == "cpu":
        try:
            value.data_ptr()
        except RuntimeError:
            raise TypeError(
                f"{what} is a torch {type(value).__name__} without memory of its own (a fake "
                "tensor, or one inside a function transformation): log the result instead"
            ) from None
    detached = value.detach()
    return (HostTensor if value.device.type == "cpu" else DeviceTensor)(detached, dtype)


def scalar(value: object, what: str) -> float | DeviceTensor:
    """Returns ``value``, of one element, as a float, or as a tensor where it is on a device."""
    result = tensor(value, what)
    assert isinstance(value, torch.Tensor)
    if value.numel() != 1:
        raise not_one_element(what, type(value), result.shape)
    return float(value.detach().item()) if isinstance(result, HostTensor) else result
