"""Which bytes of a ring are taken, and by which sequence numbers.

One flat buffer that is used lap after lap. A frame that does not fit before the
buffer's end begins at its start, behind padding. No I/O, no clock, no thread.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from boardd_protos.frame import ALIGNMENT, FLAGS_OFFSET, HEADER_BYTES, PADDING
from boardd_protos.shared import MIN_RING_BYTES

from boardd_client.memory.segments import Segments

_PADDING: Final = struct.Struct("<Q")
_SIZE: Final = struct.Struct("<I")


class RingSpace:
    """The space of ``Ring``, which is a subclass and not its user for speed.

    A scalar's call looks at five of these attributes; through a part of the ring, each
    would take one look-up more.
    """

    __slots__ = (
        "_backlog_at",
        "_backlog_notify",
        "_freed_sequence",
        "_is_closed",
        "_lap",
        "_limit",
        "_lock",
        "_offset",
        "_reserve_bytes",
        "_segments",
        "_sequence",
        "_tail",
        "_tail_words",
        "_taking_room",
        "_unfinished",
        "_view",
        "lock",
        "size_bytes",
    )

    def __init__(
        self,
        buffer: memoryview,
        *,
        reserve_bytes: int,
        lock: AbstractContextManager[Any] | None,
        tail_words: memoryview | None,
    ) -> None:
        view = memoryview(buffer).cast("B")
        self.size_bytes = len(view) // ALIGNMENT * ALIGNMENT
        if self.size_bytes < MIN_RING_BYTES or view.readonly:
            raise ValueError(f"a ring needs {MIN_RING_BYTES} writable bytes, got {len(view)}")
        self._view = view[: self.size_bytes]
        self._reserve_bytes = reserve_bytes
        self.lock = lock if lock is not None else threading.RLock()
        self._lock = self.lock
        # A signal handler that logs may interrupt its own thread in here. The lock is re-entrant,
        # so there is no deadlock; room is taken before a frame is written, so the handler's
        # frame goes behind it; and while room is being taken, the handler's is refused.
        self._taking_room = False
        self._sequence = 0  # of the newest frame
        self._lap = 0  # position of the buffer's first byte in this lap
        self._offset = 0  # where the next frame goes, in the buffer
        self._limit = 0  # a scalar that ends at or before this offset needs no further check
        self._freed_sequence = 0
        self._tail = 0  # position of the oldest frame that is kept
        self._tail_words = tail_words
        self._segments = Segments()
        self._unfinished: dict[int, tuple[int, int]] = {}  # by sequence: offset and size
        self._is_closed = False
        self._backlog_notify: Callable[[], None] | None = None
        self._backlog_at = 0  # notify when the sequence reaches this; 0: do not
        self._update_limit()

    @property
    def last_sequence(self) -> int:
        """Sequence number of the newest frame; 0 before the first."""
        return self._sequence

    @property
    def freed_sequence(self) -> int:
        """Frames up to this sequence number are gone."""
        return self._freed_sequence

    @property
    def used_bytes(self) -> int:
        """Bytes taken by kept frames and padding."""
        with self._lock:
            return self._lap + self._offset - self._tail

    @property
    def largest_frame_bytes(self) -> int:
        """No larger frame ever finds room.

        Half of the ring: such a frame and the padding before it never exceed the whole.
        """
        return min(self.size_bytes // 2, self.size_bytes - self._reserve_bytes)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closed

    def close(self) -> None:
        """Takes no frame any more; those that are there are kept."""
        with self._lock:
            self._is_closed = True
            self._limit = 0

    def position_after(self, sequence: int) -> int:
        """The position where the frame after ``sequence`` begins or will begin.

        There may be padding at that position, before the frame. Raises ``KeyError`` if the
        frame after ``sequence`` is gone.
        """
        with self._lock:
            if not self._freed_sequence <= sequence <= self._sequence:
                raise KeyError(sequence)
            if sequence == self._sequence:
                return self._lap + self._offset
            return self._segments.position_of(sequence + 1)

    def notify_backlog(self, records: int, notify: Callable[[], None] | None) -> None:
        """Calls ``notify`` once, from a trainer, when ``records`` more frames were appended.

        This costs the calls before it nothing: the check for space covers it. ``notify`` must
        not block. ``records`` 0 or ``notify`` None turns this off.
        """
        with self._lock:
            self._backlog_notify = notify
            self._backlog_at = self._sequence + records if records > 0 and notify else 0
            self._update_limit()

    def _take_room(
        self, size_bytes: int, reserve_bytes: int, count: int = 1
    ) -> tuple[int, int, int]:
        """Makes room for ``count`` frames of ``size_bytes`` each, for all of them or for none.

        Those that do not fit before the buffer's end go to its start. Returns the first one's
        sequence number and offset, and how many lie before the end; (0, 0, 0) if there is no room.
        """
        if self._taking_room or self._is_closed or not self._view:
            return 0, 0, 0
        self._taking_room = True
        self._limit = 0
        try:
            self._notify_of(count)
            free_bytes = self.size_bytes - (self._lap + self._offset - self._tail)
            to_end = self.size_bytes - self._offset
            before = min(count, to_end // size_bytes)
            after = count - before
            skipped = to_end - before * size_bytes if after else 0
            if count * size_bytes + reserve_bytes + skipped > free_bytes:
                return 0, 0, 0
            if skipped:
                self._pad(self.size_bytes - skipped, skipped)
            sequence = self._sequence + 1
            offset = self._offset if before else 0
            end = offset + before * size_bytes
            offsets = [*range(offset, end, size_bytes), *range(0, after * size_bytes, size_bytes)]
            unfinished = {sequence + i: (at, size_bytes) for i, at in enumerate(offsets)}
            segments = self._segments
            # From here on without a call, where a signal handler might run and raise.
            if after:
                self._lap += self.size_bytes
                end = after * size_bytes
                if segments.sequences[-1] == sequence + before:
                    segments.positions[-1] = self._lap
                else:
                    segments.sequences += [sequence + before]
                    segments.positions += [self._lap]
            self._unfinished |= unfinished
            self._sequence += count
            self._offset = end
            if size_bytes != HEADER_BYTES:
                segments.sequences += [sequence + count]
                segments.positions += [self._lap + end]
        finally:
            self._taking_room = False
        self._update_limit()
        return sequence, offset, before

    def _notify_of(self, frames: int) -> None:
        """Tells of the backlog, if this many frames more reach it."""
        if self._backlog_at and self._sequence + frames >= self._backlog_at:
            self._backlog_at = 0
            if self._backlog_notify is not None:
                self._backlog_notify()

    def _pad(self, offset: int, size_bytes: int) -> None:
        """Writes padding up to the buffer's end."""
        _PADDING.pack_into(self._view, offset, size_bytes | PADDING << 8 * FLAGS_OFFSET)

    def _free(self, through: int) -> None:
        """Gives back the space of all frames up to a sequence number; under the lock."""
        # Not where the next frame begins: padding before that is still to be read.
        position = self._segments.position_of(through)
        self._tail = position + self._size_at(position)
        self._freed_sequence = through
        words = self._tail_words
        if words is not None:
            # In this order; see ``boardd_protos.log_file``.
            words[0] = through
            words[1] = self._tail
        self._segments.forget(through)
        self._update_limit()

    def _take_back(self, sequence: int, offset: int, count: int = 1) -> bool:
        """Gives back the room of scalars' frames that were not finished.

        ``sequence`` is the last one's, ``offset`` the first one's. Returns False if a signal
        handler has logged behind them: then they must be aborted.
        """
        if self._sequence == sequence:
            self._sequence = sequence - count
            self._offset = offset
            self._update_limit()
            return True
        for index in range(count):
            at = offset + index * HEADER_BYTES
            self._unfinished[sequence - count + 1 + index] = (at, HEADER_BYTES)
        return False

    def _update_limit(self) -> None:
        if self._is_closed or not self._view:
            return
        free_bytes = self.size_bytes - (self._lap + self._offset - self._tail)
        limit = min(self.size_bytes, self._offset + free_bytes)
        if self._backlog_at:
            records = max(self._backlog_at - 1 - self._sequence, 0)
            limit = min(limit, self._offset + records * HEADER_BYTES)
        self._limit = limit

    def _offset_of(self, sequence: int) -> int:
        if not self._freed_sequence < sequence <= self._sequence:
            raise KeyError(sequence)
        return self._segments.position_of(sequence) % self.size_bytes

    def _size_at(self, position: int) -> int:
        size_bytes: int = _SIZE.unpack_from(self._view, position % self.size_bytes)[0]
        return size_bytes
