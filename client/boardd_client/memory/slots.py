"""Slots for the tensors of a record: in the arena, or each in a map of its own.

A tensor that is larger than the arena lies in a map of its own, and so does one that finds the
arena full, as long as the budget of such maps has room.

No I/O but what making a map for a large tensor takes, no clock, no thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import MAX_TENSORS

from boardd_client.memory.arena import Arena, Slot
from boardd_client.memory.drop_reason import DropReason

#: Bytes of the smallest tensor that gets a map of its own when the arena is full: there are few
#: maps, and making one takes longer than a small copy.
LEAST_OVERFLOW_BYTES: Final = 64 << 10


class LargeSlots(Protocol):
    """Where tensors lie for which the arena has no room."""

    def may_fit(self, size_bytes: int) -> bool:
        """Whether tensors of this many bytes find room when all others are gone."""

    def allocate(self, size_bytes: int) -> Slot | None:
        """A slot, whose ``map_number`` is not 0; None when there is no room."""

    def free(self, slot: Slot) -> None:
        """Gives a slot back, once."""


class TensorSlots:
    """Slots in ``arena``, or in ``large`` for what the arena cannot hold, ever or just then.

    ``arena_offset`` is where the arena begins in map 0; None if nothing is shared.
    """

    def __init__(self, arena: Arena, large: LargeSlots | None, arena_offset: int | None) -> None:
        self.arena: Final = arena
        self._large = large
        self._arena_offset = arena_offset

    def allocate(self, sizes: Sequence[int], *, is_scalar: bool) -> tuple[Slot, ...] | DropReason:
        """Slots for the tensors of one record, or why there is no room for all of them."""
        if len(sizes) == 1:  # nearly always, and nearly always there is room
            slot = self.arena.allocate(sizes[0], reserved=is_scalar)
            if slot is not None:
                return (slot,)
        fits_arena = is_scalar or self.arena.may_fit(sizes)
        # What is smaller finds room in the arena also in company.
        large_bytes = self.arena.size_bytes // (2 * MAX_TENSORS)
        if not fits_arena:
            large = sum(size for size in sizes if size >= large_bytes)
            if self._large is None or not self._large.may_fit(large):
                return DropReason.TENSOR_TOO_LARGE
        slots: list[Slot] = []
        for size_bytes in sizes:
            slot = None
            is_for_arena = fits_arena or self._large is None or size_bytes < large_bytes
            if is_for_arena:
                slot = self.arena.allocate(size_bytes, reserved=is_scalar)
            may_be_large = not is_for_arena or size_bytes >= LEAST_OVERFLOW_BYTES
            if slot is None and may_be_large and self._large is not None:
                slot = self._large.allocate(size_bytes)
            if slot is None:
                self.free(slots)
                return DropReason.ARENA_FULL if is_for_arena else DropReason.LARGE_FULL
            slots.append(slot)
        return tuple(slots)

    def free(self, slots: Iterable[Slot]) -> None:
        """Gives slots back, once."""
        for slot in slots:
            if slot.map_number and self._large is not None:
                self._large.free(slot)
            else:
                self.arena.free(slot)

    def located(self, slots: Iterable[Slot]) -> bytes:
        """Says where tensors lie: bytes of a ``Payload``, to be appended to its other bytes.

        Empty if nothing is shared.
        """
        if self._arena_offset is None:
            return b""
        message = pb.Payload()
        for slot in slots:
            offset = slot.offset if slot.map_number else self._arena_offset + slot.offset
            message.slots.add(map=slot.map_number, offset=offset, size_bytes=len(slot.view))
        data: bytes = message.SerializeToString()
        return data
