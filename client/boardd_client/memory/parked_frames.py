"""The part of a log that frames are moved to that must not stay in its ring.

Frames lie back to back between two positions, and begin anew at the start before one that
would not fit; what is done is marked as that. So what is kept of frames that were done out
of order lies between gaps, which are closed by moving the oldest frames to the end.
``boardd_protos.log_file`` has the layout.

No I/O but what ``extend`` does, no clock, no thread. Its session locks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np
from boardd_protos.frame import FLAGS_OFFSET, HEADER_BYTES, PADDING

#: Moved at a time, about: calls wait for that.
_MOVE_BYTES: Final = 1 << 17
#: A padding frame: its size, kind UNFINISHED, and its flag.
_PADDING: Final = struct.Struct("<IBBH")


class KeptFrames:
    """Frames of one run that follow each other: one, or ``count`` without a payload."""

    __slots__ = ("count", "position", "size_bytes")

    def __init__(self, position: int, size_bytes: int, count: int) -> None:
        self.position = position
        self.size_bytes = size_bytes
        self.count = count  #: 0 when all are done


class ParkedFrames:
    """See the module. ``view`` has a multiple of eight bytes, of which ``usable_bytes`` are.

    ``words``, a view of three "Q", tells readers up to which record all is done, and between
    which positions frames lie.
    ``extend(end)`` is called to make ``view`` usable up to ``end``; it returns up to where
    that is so now.
    """

    def __init__(
        self,
        view: memoryview,
        words: memoryview,
        usable_bytes: int,
        extend: Callable[[int], int],
    ) -> None:
        self._view = view
        self._bytes = np.frombuffer(view, np.uint8)
        self._words = words
        self._usable_bytes = usable_bytes
        self._extend = extend
        self._head = 0
        self._moved_bytes = 0  # since there was room
        self._live_bytes = 0
        self._kept: list[KeptFrames] = []  # by position, from ``_oldest`` on
        self._oldest = 0

    @classmethod
    def private(cls, size_bytes: int) -> ParkedFrames:
        """In memory of this process."""
        words = memoryview(bytearray(24)).cast("Q")
        return cls(memoryview(bytearray(size_bytes)), words, size_bytes, lambda end: size_bytes)

    @property
    def capacity_bytes(self) -> int:
        """That of all its memory."""
        return len(self._view)

    def acknowledged(self, sequence: int) -> None:
        """Every record up to ``sequence`` is done."""
        if self._words:
            self._words[0] = sequence

    def make_room(self, size_bytes: int) -> bool | None:
        """Makes room for frames of ``size_bytes`` together, one after the other.

        Returns True if there is some, None if calling again may help, and False if not.
        """
        # One of them, as long as all together at most, may not fit before the end.
        needed_bytes = 2 * size_bytes
        capacity = len(self._view)
        if self._live_bytes + needed_bytes > capacity // 4 * 3 or self._moved_bytes > 2 * capacity:
            self._moved_bytes = 0
            return False
        self._trim()
        budget = _MOVE_BYTES
        while self._free_bytes < needed_bytes:
            if budget <= 0:
                return None
            kept = self._kept[self._oldest]
            if self._free_bytes < 2 * kept.size_bytes or not self._is_usable(2 * kept.size_bytes):
                return False
            budget -= kept.size_bytes
            self._moved_bytes += kept.size_bytes
            self._move(kept)
        self._moved_bytes = 0
        return self._is_usable(needed_bytes)

    def append(self, frames: bytes | memoryview, count: int) -> KeptFrames:
        """Keeps ``count`` frames, for which there must be room. No reader sees them yet."""
        kept = KeptFrames(self._place(len(frames)), len(frames), count)
        start = kept.position % len(self._view)
        self._view[start : start + len(frames)] = frames
        self._kept.append(kept)
        self._live_bytes += len(frames)
        return kept

    def publish(self) -> None:
        """What was appended is there for readers."""
        self._words[2] = self._head

    def let_go(self, kept: KeptFrames, count: int) -> None:
        """The first ``count`` frames of ``kept`` are done."""
        size_bytes = kept.size_bytes if count == kept.count else count * HEADER_BYTES
        start = kept.position % len(self._view)
        self._bytes[start + FLAGS_OFFSET : start + size_bytes : kept.size_bytes // kept.count] = (
            PADDING
        )
        kept.position += size_bytes
        kept.size_bytes -= size_bytes
        kept.count -= count
        self._live_bytes -= size_bytes

    def read(self, position: int, size_bytes: int) -> memoryview:
        """Frames that lie at a position."""
        start = position % len(self._view)
        return self._view[start : start + size_bytes]

    def release(self) -> None:
        """Lets go of the memory."""
        # Even an empty slice would keep all of the memory.
        self._view = self._words = memoryview(b"")
        self._bytes = self._bytes[:0].copy()
        self._kept, self._oldest, self._live_bytes = [], 0, 0

    @property
    def _free_bytes(self) -> int:
        return len(self._view) - (self._head - self._words[1])

    def _is_usable(self, size_bytes: int) -> bool:
        """Whether the memory that ``size_bytes`` are appended to is there."""
        end = min(self._head % len(self._view) + size_bytes, len(self._view))
        if end > self._usable_bytes:
            self._usable_bytes = max(self._usable_bytes, self._extend(end))
        return end <= self._usable_bytes

    def _place(self, size_bytes: int) -> int:
        """The position of ``size_bytes`` more, behind padding if need be."""
        start = self._head % len(self._view)
        rest = len(self._view) - start
        if size_bytes > rest:
            _PADDING.pack_into(self._view, start, rest, 0, PADDING, 0)
            self._head += rest
        position = self._head
        self._head += size_bytes
        return position

    def _move(self, kept: KeptFrames) -> None:
        frames = bytes(self.read(kept.position, kept.size_bytes))
        kept.position = self._place(len(frames))
        start = kept.position % len(self._view)
        self._view[start : start + len(frames)] = frames
        self._kept.append(kept)
        self._oldest += 1
        # A reader finds them twice, but never not at all.
        self.publish()
        self._trim()

    def _trim(self) -> None:
        kept, oldest = self._kept, self._oldest
        while oldest < len(kept) and not kept[oldest].count:
            oldest += 1
        if oldest < len(kept):
            self._words[1] = kept[oldest].position
        else:
            # Behind all that is there: a reader finds nothing, whichever word it sees first.
            capacity = len(self._view)
            tail = -(-self._head // capacity) * capacity
            self._words[1] = tail
            self._head = tail
            self._words[2] = tail
        if oldest > len(kept) // 2:
            del kept[:oldest]
            oldest = 0
        self._oldest = oldest
