"""Many tensors as few: the values of each dtype one after the other, for one slot.

What a framework can copy with one call is copied so: its class has a static method
``joined``, which makes one tensor of several with the same ``device``. The others are copied
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boardd_protos.dtypes import ITEM_BYTES

from boardd_client.capture import Tensor
from boardd_client.errors import CaptureError
from boardd_client.memory.pending import Failed, Pending


class Joined:
    """Tensors of one dtype, copied one after the other; its shape is [n]."""

    __slots__ = ("_parts", "dtype", "shape", "size_bytes")

    def __init__(self, dtype: str, parts: Sequence[Tensor], count: int) -> None:
        self._parts = parts
        self.dtype = dtype
        self.shape = (count,)
        self.size_bytes = sum(part.size_bytes for part in parts)

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Copies all, or starts to. If one fails, they are all lost."""
        pendings: list[Pending] = []
        at = 0
        for part in self._parts:
            end = at + part.size_bytes
            try:
                pending = part.copy_into(slot[at:end])
            except Exception as error:  # those before it are under way
                pending = Failed(f"{type(error).__name__}: {error}")
            if pending is not None:
                pendings.append(pending)
            at = end
        return _All(pendings) if pendings else None


class _All:
    """Copies under way to parts of one slot."""

    __slots__ = ("_pendings",)

    def __init__(self, pendings: Sequence[Pending]) -> None:
        self._pendings = pendings

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        return all(pending.is_done() for pending in self._pendings)

    def wait(self) -> None:
        """Waits for all; raises ``CaptureError`` if any failed."""
        failure = ""
        for pending in self._pendings:  # the slot is given back after the last
            try:
                pending.wait()
            except CaptureError as error:
                failure = failure or str(error) or "the framework failed to yield the values"
            except Exception as error:  # a framework may raise anything
                failure = failure or f"{type(error).__name__}: {error}"
        if failure:
            raise CaptureError(failure)


def joined(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Returns a tensor for each dtype, and in which order ``tensors``, by index, are in them."""
    groups: dict[tuple[str, type, Any], list[int]] = {}
    for index, tensor in enumerate(tensors):
        key = tensor.dtype, type(tensor), getattr(tensor, "device", None)
        groups.setdefault(key, []).append(index)
    by_dtype: dict[str, list[Tensor]] = {}
    counts: dict[str, int] = {}
    order: dict[str, list[int]] = {}
    for (dtype, kind, _), indexes in groups.items():
        found = [tensors[index] for index in indexes]
        join = getattr(kind, "joined", None)
        if join is not None and len(found) > 1:
            found = [join(found)]
        by_dtype.setdefault(dtype, []).extend(found)
        order.setdefault(dtype, []).extend(indexes)
    for dtype, indexes in order.items():
        counts[dtype] = sum(element_count(tensors[index]) for index in indexes)
    made: list[Tensor] = [Joined(dtype, parts, counts[dtype]) for dtype, parts in by_dtype.items()]
    return made, [index for indexes in order.values() for index in indexes]


def element_count(tensor: Tensor) -> int:
    """The number of elements of a tensor."""
    return tensor.size_bytes // ITEM_BYTES[tensor.dtype]
