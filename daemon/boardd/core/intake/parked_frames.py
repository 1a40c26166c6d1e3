"""Reads what a dead client has parked in its log; ``boardd_protos.log_file`` has the layout.

As with a ring, bytes are copied first, and only the copy is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from boardd_protos.frame import ALIGNMENT, HEADER_BYTES, PADDING, FrameError
from boardd_protos.log_file import LogWords

#: Size, kind, flags, reserved and sequence number of a frame; padding may have the first alone.
_HEAD: Final = struct.Struct("<IBBHQ")
_SIZE: Final = struct.Struct("<IBBH")


class ParkedFrames:
    """The parked frames with sequence numbers above ``after``, in order.

    Up to ``words.freed_sequence``: what comes after is in the ring. ``read(offset, size_bytes)``
    copies bytes of the ``capacity_bytes`` in which they lie.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        capacity_bytes: int,
        words: LogWords,
        after: int,
        max_frame_bytes: int,
    ) -> None:
        self._read = read
        self._capacity_bytes = capacity_bytes
        self._after, self._until = after, words.freed_sequence
        self._max_frame_bytes = max_frame_bytes
        self._position, self._head = words.parked_tail, words.parked_head
        self._found: dict[int, tuple[int, int]] = {}  # by number, offset and bytes
        self._in_order: list[int] = []
        self._next = 0

    def look(self, limit_bytes: int) -> bool:
        """Looks through about ``limit_bytes``; returns False if there is nothing left.

        Raises ``FrameError`` for what no client writes, and ``RequestError``.
        """
        if self._position >= self._head:
            self._in_order = sorted(self._found)
            return False
        offset = self._position % self._capacity_bytes
        available = min(self._capacity_bytes - offset, self._head - self._position)
        data = self._read(offset, min(available, limit_bytes))
        at = 0
        while at < len(data):
            size_bytes, _, flags, _ = _SIZE.unpack_from(data, at)
            if not ALIGNMENT <= size_bytes <= available - at or size_bytes % ALIGNMENT:
                raise FrameError(f"a parked frame of {size_bytes} bytes")
            if not flags & PADDING:
                if at + _HEAD.size > len(data) and at:
                    break
                if not HEADER_BYTES <= size_bytes <= self._max_frame_bytes:
                    raise FrameError(f"a parked frame of {size_bytes} bytes")
                sequence = _HEAD.unpack_from(data, at)[4]
                if self._after < sequence <= self._until:
                    self._found[sequence] = offset + at, size_bytes
            at += size_bytes
        self._position += at
        return True

    def take(self, limit_bytes: int) -> bytes:
        """The frames that come next, of about ``limit_bytes``; none if that is empty.

        Raises ``RequestError`` if they cannot be read.
        """
        frames: list[bytes] = []
        taken = 0
        while taken < limit_bytes and self._next < len(self._in_order):
            sequence = self._in_order[self._next]
            offset, size_bytes = self._found[sequence]
            if frames and taken + size_bytes > limit_bytes:
                break
            self._next += 1
            frame = self._read(offset, size_bytes)
            found = _HEAD.unpack_from(frame)
            # A client that lives all the same may have found meanwhile that it is done.
            if found[0] == size_bytes and found[4] == sequence and not found[2] & PADDING:
                frames.append(frame)
                taken += size_bytes
        return b"".join(frames)
