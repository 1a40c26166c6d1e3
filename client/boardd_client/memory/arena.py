"""Room for tensors between a log call and the daemon's acknowledgement.

One flat buffer, cut into slots at 64-byte boundaries, first fit from the low
end, neighbours joined when freed. First fit keeps a lightly used arena in the
same few pages, so that a large budget costs memory only when it is used.

Of a buffer that is only promised, such as a sparse file in memory, ``usable_bytes``
from its start are there; ``extend`` is asked for more when no slot is free.

No I/O but what ``extend`` does, no clock, no thread. Every method may be called
from any thread.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

#: Start of every slot; a cache line, and enough for any dtype and vector load.
SLOT_ALIGNMENT: Final = 64


class Slot(NamedTuple):
    """Bytes of the arena that belong to one tensor."""

    offset: int  #: in the arena, or in a map of its own
    view: memoryview
    map_number: int = 0  #: of a map of its own, as in ``boardd_protos.shared``; 0: in the arena


class Arena:
    """Slots in ``buffer``.

    ``reserve_bytes`` are kept for slots asked for with ``reserved=True`` (lazy
    scalars), so that tensors fill up first. ``lock`` is a re-entrant lock to share
    with others; by default the arena has its own.

    ``extend(end)`` is called, under the lock, to make the buffer usable up to
    ``end``; it returns up to where that is so now. None: all of it is usable.
    """

    def __init__(
        self,
        buffer: memoryview,
        *,
        reserve_bytes: int = 0,
        lock: AbstractContextManager[Any] | None = None,
        extend: Callable[[int], int] | None = None,
    ) -> None:
        view = memoryview(buffer).cast("B")
        self.size_bytes: Final = len(view) // SLOT_ALIGNMENT * SLOT_ALIGNMENT
        if not 0 <= reserve_bytes < max(self.size_bytes, 1) or view.readonly:
            raise ValueError(f"no arena of {len(view)} bytes with {reserve_bytes} in reserve")
        self._view = view
        self._reserve_bytes = reserve_bytes
        self._lock = lock if lock is not None else threading.RLock()
        self._extend = extend
        # A signal handler that logs may interrupt its own thread in here; the lock is re-entrant.
        self._is_busy = False
        self._freed_meanwhile: list[Slot] = []
        self.usable_bytes = 0
        self.peak_bytes = 0  #: end of the highest slot so far
        # Free blocks, ascending and never adjacent.
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self._free_bytes = self.size_bytes
        if extend is None:
            self.made_usable(self.size_bytes)

    @property
    def used_bytes(self) -> int:
        """Bytes in slots, rounded up to their alignment."""
        return self.size_bytes - self._free_bytes

    def made_usable(self, end: int) -> None:
        """The buffer is usable up to ``end`` now, rounded down to the alignment."""
        end = min(end, self.size_bytes) // SLOT_ALIGNMENT * SLOT_ALIGNMENT
        with self._lock:
            start = self.usable_bytes
            if end <= start:
                return
            self.usable_bytes = end
            if self._starts and self._starts[-1] + self._lengths[-1] == start:
                self._lengths[-1] += end - start
            else:
                self._starts.append(start)
                self._lengths.append(end - start)

    def release(self) -> None:
        """Lets go of the buffer; from then on there is no room."""
        with self._lock:
            self._view = memoryview(b"")  # even an empty slice would keep all of the memory
            self._starts, self._lengths, self._extend = [], [], None

    def may_fit(self, sizes: Iterable[int]) -> bool:
        """Whether slots of these sizes, none reserved, find room when all else is free."""
        return sum(map(_taken, sizes)) <= self.size_bytes - self._reserve_bytes

    def allocate(self, size_bytes: int, *, reserved: bool = False) -> Slot | None:
        """Returns a slot of exactly ``size_bytes`` bytes, or None when there is no room.

        A slot of 0 bytes takes no room.
        """
        if size_bytes < 0:
            raise ValueError(f"size_bytes must be at least 0, got {size_bytes}")
        if size_bytes == 0:
            return Slot(0, self._view[:0])
        taken = _taken(size_bytes)
        with self._lock:
            if self._is_busy:
                return None
            self._is_busy = True
            try:
                return self._allocate(size_bytes, taken, reserved=reserved)
            finally:
                self._is_busy = False  # first, and no call: a signal handler may raise in one
                if self._freed_meanwhile:
                    self._free_late()

    def _allocate(self, size_bytes: int, taken: int, *, reserved: bool) -> Slot | None:
        if taken > self._free_bytes - (0 if reserved else self._reserve_bytes):
            return None
        index = self._index_of(taken)
        if index is None:
            self._extend_for(taken)
            index = self._index_of(taken)
            if index is None:
                return None
        start, length = self._starts[index], self._lengths[index]
        if length == taken:
            del self._starts[index]
            del self._lengths[index]
        else:
            self._starts[index] = start + taken
            self._lengths[index] = length - taken
        self._free_bytes -= taken
        self.peak_bytes = max(self.peak_bytes, start + taken)
        return Slot(start, self._view[start : start + size_bytes])

    def free(self, slot: Slot) -> None:
        """Gives a slot back, once.

        Raises ``ValueError`` for bytes that are free already.
        """
        if len(slot.view) == 0:
            return
        with self._lock:
            if self._is_busy:
                self._freed_meanwhile.append(slot)
                return
            self._is_busy = True
            try:
                self._free(slot)
            finally:
                self._is_busy = False  # first, and no call: a signal handler may raise in one
                if self._freed_meanwhile:
                    self._free_late()

    def _free_late(self) -> None:
        while self._freed_meanwhile:
            self.free(self._freed_meanwhile.pop())

    def _free(self, slot: Slot) -> None:
        start = slot.offset
        length = _taken(len(slot.view))
        index = bisect_left(self._starts, start)
        before = index - 1
        before_end = self._starts[before] + self._lengths[before] if index else 0
        next_start = self._starts[index] if index < len(self._starts) else self.usable_bytes
        if start < before_end or start + length > next_start:
            raise ValueError(f"slot at {start}, {length} bytes, is not allocated")
        joins_before = index > 0 and before_end == start
        joins_next = index < len(self._starts) and next_start == start + length
        if joins_before and joins_next:
            self._lengths[before] += length + self._lengths[index]
            del self._starts[index]
            del self._lengths[index]
        elif joins_before:
            self._lengths[before] += length
        elif joins_next:
            self._starts[index] = start
            self._lengths[index] += length
        else:
            # No call between the two; see above.
            self._starts[index:index] = [start]
            self._lengths[index:index] = [length]
        self._free_bytes += length

    def free_blocks(self) -> list[tuple[int, int]]:
        """The usable free blocks as (offset, size in bytes), ascending."""
        with self._lock:
            return list(zip(self._starts, self._lengths, strict=True))

    def _index_of(self, taken: int) -> int | None:
        """The first free block of at least ``taken`` bytes."""
        return next((i for i, length in enumerate(self._lengths) if length >= taken), None)

    def _extend_for(self, taken: int) -> None:
        """Asks for room for a slot behind what is usable and free."""
        if self._extend is None or self.usable_bytes == self.size_bytes:
            return
        end = self.usable_bytes
        free_at_end = 0
        if self._starts and self._starts[-1] + self._lengths[-1] == end:
            free_at_end = self._lengths[-1]
        wanted = end + taken - free_at_end
        if wanted <= self.size_bytes:
            self.made_usable(self._extend(wanted))


def _taken(size_bytes: int) -> int:
    return -(-size_bytes // SLOT_ALIGNMENT) * SLOT_ALIGNMENT
