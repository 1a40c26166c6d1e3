"""Capture of PyTorch tensors.

A CPU tensor is copied at once. A tensor on a device is cloned there, on the stream
that computes it, and another thread transfers the clone: see ``torch_cuda``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from boardd_protos.dtypes import ITEM_BYTES

from boardd_client.capture import host, torch_cuda
from boardd_client.capture.host import not_one_element, unsupported_dtype
from boardd_client.errors import CaptureError
from boardd_client.memory.pending import Failed, Pending

_NAMES: Final = {
    getattr(torch, name): name
    for name in ITEM_BYTES
    if hasattr(torch, name)  # uint16 and wider since PyTorch 2.3
}
# Types without surprises: a subclass may be spread over processes, or have no memory.
_PLAIN: Final = (torch.Tensor, torch.nn.Parameter)


class HostTensor:
    """A CPU tensor; ``copy_into`` is one copy, made at once.

    Only for tensors that NumPy cannot see (bfloat16) or copies more slowly (not
    contiguous). The others are NumPy arrays over the same memory.
    """

    __slots__ = ("_tensor", "dtype", "shape", "size_bytes")

    def __init__(self, value: Any, dtype: str) -> None:
        self._tensor = value
        self.dtype = dtype
        self.shape = tuple(value.shape)
        self.size_bytes: int = value.numel() * value.element_size()

    def copy_into(self, slot: memoryview) -> None:
        """Copies the elements to ``slot``; PyTorch releases the GIL meanwhile."""
        _copy(self._tensor, slot)

    @staticmethod
    def joined(tensors: Sequence[HostTensor]) -> HostTensor:
        """See ``boardd_client.capture.joined``."""
        return _JoinedHostTensor([tensor._tensor for tensor in tensors], tensors[0].dtype)


class _JoinedHostTensor(HostTensor):
    """CPU tensors of one dtype; ``copy_into`` is one call."""

    __slots__ = ("_tensors",)

    def __init__(self, values: Sequence[Any], dtype: str) -> None:
        super().__init__(values[0], dtype)
        self._tensors = values
        self.shape, self.size_bytes = _extent(values)

    def copy_into(self, slot: memoryview) -> None:
        """Copies the elements of all to ``slot``."""
        if self.size_bytes:
            target = torch.frombuffer(slot, dtype=self._tensor.dtype)
            torch.cat(_flat(self._tensors), out=target)


class DeviceTensor:
    """A tensor on a device; ``copy_into`` enqueues a clone there and returns."""

    __slots__ = ("_tensor", "device", "dtype", "shape", "size_bytes")

    def __init__(self, value: Any, dtype: str) -> None:
        self._tensor = value
        self.device = value.device
        self.dtype = dtype
        self.shape = tuple(value.shape)
        self.size_bytes: int = value.numel() * value.element_size()

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Enqueues the clone."""
        if self.size_bytes == 0:
            return None
        if self._tensor.is_cuda:
            return torch_cuda.begin(self.device, self._clone, slot)
        try:
            clone = self._clone()
        except RuntimeError as error:
            return Failed(f"no snapshot of a tensor on {self.device}: {error}")
        return _DeviceCopy(clone, slot)

    def _clone(self) -> Any:
        return self._tensor.clone(memory_format=torch.contiguous_format)

    @staticmethod
    def joined(tensors: Sequence[DeviceTensor]) -> DeviceTensor:
        """See ``boardd_client.capture.joined``; ``tensors`` are on one device."""
        return _JoinedDeviceTensor([tensor._tensor for tensor in tensors], tensors[0].dtype)


class _JoinedDeviceTensor(DeviceTensor):
    """Tensors of one dtype on one device, of which one clone is made."""

    __slots__ = ("_tensors",)

    def __init__(self, values: Sequence[Any], dtype: str) -> None:
        super().__init__(values[0], dtype)
        self._tensors = values
        self.shape, self.size_bytes = _extent(values)

    def _clone(self) -> Any:
        return torch.cat(_flat(self._tensors))


def _extent(values: Sequence[Any]) -> tuple[tuple[int, ...], int]:
    """The shape of the elements of all, and their bytes."""
    count = sum(value.numel() for value in values)
    return (count,), count * values[0].element_size()


def _flat(values: Sequence[Any]) -> list[Any]:
    return [value.detach().reshape(-1) for value in values]


class _DeviceCopy:
    """The transfer of a clone on a device other than CUDA's."""

    def __init__(self, clone: Any, slot: memoryview) -> None:
        self._clone = clone
        self._slot = slot

    def is_done(self) -> bool:
        """True: not every such device has events to ask, so ``wait`` finds out."""
        return True

    def wait(self) -> None:
        """Transfers the clone."""
        try:
            _copy(self._clone, self._slot)
        except RuntimeError as error:
            raise CaptureError(f"the transfer from {self._clone.device} failed: {error}") from None
        finally:
            del self._clone


def _copy(value: Any, slot: memoryview) -> None:
    """Copies ``value`` to ``slot``; its conjugate and negative bits are resolved."""
    if value.numel():
        target = torch.frombuffer(slot, dtype=value.dtype, count=value.numel())
        target.reshape(value.shape).copy_(value)


def tensor(value: object, what: str) -> host.HostTensor | HostTensor | DeviceTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    if type(value) in _PLAIN:
        plain: Any = value
        dtype = _NAMES.get(plain.dtype)
        if dtype is not None and plain.is_cpu and dtype != "bfloat16":
            try:
                if plain.is_contiguous():
                    return host.HostTensor(plain.numpy(force=True), dtype)
            except (RuntimeError, TypeError):
                pass  # sparse, or inside a function transformation: _any_tensor says so
    return _any_tensor(value, what)


def _any_tensor(value: object, what: str) -> HostTensor | DeviceTensor:
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
    """Returns ``value``, of one element, as a float, or as a tensor if it is on a device."""
    if type(value) in _PLAIN:
        plain: Any = value
        if plain.is_cpu and plain.dtype in _NAMES and plain.numel() == 1:
            try:
                return float(plain.item())
            except (RuntimeError, TypeError):
                pass  # as in tensor
    result = _any_tensor(value, what)
    assert isinstance(value, torch.Tensor)
    if value.numel() != 1:
        raise not_one_element(what, type(value), result.shape)
    return float(value.detach().item()) if isinstance(result, HostTensor) else result
