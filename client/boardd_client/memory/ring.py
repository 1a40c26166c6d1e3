"""The ring of record frames that a process keeps until the daemon wrote them.

One flat buffer, which may lie in memory shared with the daemon; its layout is
that of ``boardd_protos.shared``, and the frames are those of
``boardd_protos.frame``, written in place. Each frame's kind is written last, by
a store of its own: a process that is killed in between leaves no frame that is
half one record and half another.

Scalars have 48 bytes each, so the position of a sequence number is known
without an index of its own: only where the 48-byte steps are interrupted (after
a longer frame, or a filler) a *segment* is noted, its first sequence number and
position.

No I/O, no clock, no thread. Every method may be called from any thread.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from boardd_protos.frame import (
    ALIGNMENT,
    CLAIMED,
    FLAGS_OFFSET,
    HEADER,
    HEADER_BYTES,
    KIND_OFFSET,
    PADDING,
    VALUE_OFFSET,
    FrameKind,
    frame_bytes,
)
from numpy.typing import NDArray

_PADDING: Final = struct.Struct("<Q")
_SEQUENCE: Final = struct.Struct("<Q")
_SIZE: Final = struct.Struct("<I")
_VALUE: Final = struct.Struct("<d")
_SEQUENCE_OFFSET: Final = 8
_TARGET_OFFSET: Final = 32
_PAYLOAD_BYTES_OFFSET: Final = 36

# A scalar's frame is packed with fewer, wider fields than HEADER has, which is faster: size,
# kind (UNFINISHED), flags and reserved are one constant, target and payload_bytes (0) one integer.
_pack_scalar: Final = struct.Struct("<QQqdQd").pack_into
_UNFINISHED_SCALAR: Final = HEADER_BYTES
_CLAIMED_SCALAR: Final = HEADER_BYTES | CLAIMED << 8 * FLAGS_OFFSET
# Plain integers, for speed.
_SCALAR_KIND: Final = int(FrameKind.SCALAR)
_KIND: Final = KIND_OFFSET

# Frames of scalars that are written together: one header for all as integers of eight bytes, and
# which of its integers each frame has of its own.
_pack_alike: Final = struct.Struct("<QQqdQd").pack
_WORD_BYTES: Final = 8
_WORDS: Final = HEADER_BYTES // _WORD_BYTES
_SEQUENCE_WORD: Final = 1
_TARGET_WORD: Final = 4
_VALUE_WORD: Final = 5

#: Segments that may be stale before the list of them is cut.
_STALE_SEGMENTS: Final = 1024


class Ring:
    """A ring of frames over ``buffer``, appended by trainers, read by a sender.

    ``buffer`` is writable, contiguous and at least a few frames long; the part
    beyond a multiple of eight is not used. ``reserve_bytes`` are kept for
    scalars: no other frame may take the last so many free bytes. ``lock`` is a
    re-entrant lock to share with others; by default the log has its own.
    """

    __slots__ = (
        "_backlog_at",
        "_backlog_notify",
        "_bytes",
        "_claimed",
        "_first_segment",
        "_freed_sequence",
        "_lap",
        "_limit",
        "_lock",
        "_offset",
        "_reserve_bytes",
        "_segment_positions",
        "_segment_sequences",
        "_sequence",
        "_tail",
        "_taking_room",
        "_unfinished",
        "_values",
        "_view",
        "_words",
        "lock",
        "size_bytes",
    )

    def __init__(
        self,
        buffer: memoryview,
        *,
        reserve_bytes: int = 0,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        view = memoryview(buffer).cast("B")
        self.size_bytes = len(view) // ALIGNMENT * ALIGNMENT
        if self.size_bytes < 2 * HEADER_BYTES or view.readonly:
            raise ValueError(f"a log needs {2 * HEADER_BYTES} writable bytes, got {len(view)}")
        self._view = view[: self.size_bytes]
        # The same bytes as arrays, for many frames at once.
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._view, np.uint8)
        self._words: NDArray[np.uint64] = self._bytes.view(np.uint64)
        self._values: NDArray[np.float64] = self._bytes.view(np.float64)
        self._reserve_bytes = reserve_bytes
        self.lock = lock if lock is not None else threading.RLock()
        self._lock = self.lock
        # A signal handler that logs may interrupt its own thread in here. The lock is re-entrant,
        # so there is no deadlock; a frame is claimed before it is written, so the handler's
        # frame goes behind it; and while one is being claimed, the handler's is refused.
        self._taking_room = False
        self._sequence = 0  # of the newest frame
        self._lap = 0  # position of the buffer's first byte in this lap
        self._offset = 0  # where the next frame goes, in the buffer
        self._limit = 0  # a scalar that ends at or before this offset needs no further check
        self._freed_sequence = 0
        self._tail = 0  # position of the oldest frame that is kept
        self._segment_sequences = [1]
        self._segment_positions = [0]
        self._first_segment = 0
        self._claimed: OrderedDict[int, None] = OrderedDict()
        self._unfinished: dict[int, tuple[int, int]] = {}  # by sequence: offset and size
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
        """Bytes taken by kept frames, fillers included."""
        with self._lock:
            return self._lap + self._offset - self._tail

    @property
    def largest_frame_bytes(self) -> int:
        """No larger frame ever finds room.

        Half of the log: such a frame and the filler before it never exceed the whole.
        """
        return min(self.size_bytes // 2, self.size_bytes - self._reserve_bytes)

    def append_scalar(self, target: int, step: int, wall_time: float, value: float) -> int:
        """Appends a scalar's frame and returns its sequence number, 0 if the log is full.

        Raises ``struct.error`` for a step outside int64 and for an integer value
        that no float64 holds; nothing is appended then.
        """
        with self._lock:
            offset = self._offset
            end = offset + HEADER_BYTES
            if end > self._limit:
                frame = HEADER.pack(
                    *(HEADER_BYTES, FrameKind.UNFINISHED, 0, 0, 0),
                    *(step, wall_time, target, 0, value),
                )
                return self._append(frame, FrameKind.SCALAR, 0)
            # Claimed before it is written: see __init__ on signal handlers.
            sequence = self._sequence + 1
            self._sequence = sequence
            self._offset = end
            view = self._view
            try:
                _pack_scalar(
                    view, offset, _UNFINISHED_SCALAR, sequence, step, wall_time, target, value
                )
                view[offset + _KIND] = _SCALAR_KIND
            except BaseException:  # a signal handler may raise in here, too
                self._take_back(sequence, offset)
                raise
            return sequence

    def append_scalars(
        self, targets: NDArray[np.uint64], step: int, wall_time: float, values: NDArray[np.float64]
    ) -> int:
        """Appends a scalar's frame for each target, all of them or none.

        ``targets`` and ``values`` have shape ``[n]``, n at least 1; n frames are at most
        ``largest_frame_bytes``. Returns the last frame's sequence number, 0 if the log is full.
        Raises ``struct.error`` for a step outside int64; nothing is appended then.
        """
        header = _pack_alike(_UNFINISHED_SCALAR, 0, step, wall_time, 0, 0.0)
        count = len(targets)
        with self._lock:
            offset = self._offset
            end = offset + count * HEADER_BYTES
            if end > self._limit:
                return self._append_split(header, targets, values)
            sequence = self._sequence + count
            self._sequence = sequence
            self._offset = end
            try:
                self._write_alike(header, sequence - count + 1, offset, targets, values)
            except BaseException:
                self._take_back(sequence, offset, count)
                raise
            return sequence

    def _append_split(
        self,
        header: bytes,
        targets: NDArray[np.uint64],
        values: NDArray[np.float64],
    ) -> int:
        """Appends frames of scalars, those that do not fit before the buffer's end behind it."""
        count = len(targets)
        try:
            sequence, offset, before = self._take_room_alike(count)
            if not sequence:
                return 0
            if before:
                self._write_alike(header, sequence, offset, targets[:before], values[:before])
            if before < count:
                after = sequence + before
                self._write_alike(header, after, 0, targets[before:], values[before:])
            for number in range(sequence, sequence + count):
                self._unfinished.pop(number, None)
        except BaseException:
            self._abort_unfinished()
            raise
        return sequence + count - 1

    def _write_alike(
        self,
        header: bytes,
        sequence: int,
        offset: int,
        targets: NDArray[np.uint64],
        values: NDArray[np.float64],
    ) -> None:
        """Writes frames that differ in sequence, target and value from ``offset`` on."""
        count = len(targets)
        end = offset + count * HEADER_BYTES
        self._view[offset:end] = header * count
        word, last_word = offset // _WORD_BYTES, end // _WORD_BYTES
        words = self._words
        words[word + _SEQUENCE_WORD : last_word : _WORDS] = np.arange(
            sequence, sequence + count, dtype=np.uint64
        )
        words[word + _TARGET_WORD : last_word : _WORDS] = targets
        self._values[word + _VALUE_WORD : last_word : _WORDS] = values
        # The kinds last and by one operation, so no signal handler raises between two of them.
        self._bytes[offset + _KIND : end : HEADER_BYTES] = _SCALAR_KIND

    def claim_scalar(self, target: int, step: int, wall_time: float) -> int:
        """Appends the frame of a scalar whose value is still to come, as ``append_scalar`` does."""
        with self._lock:
            offset = self._offset
            end = offset + HEADER_BYTES
            if end > self._limit:
                frame = HEADER.pack(
                    *(HEADER_BYTES, FrameKind.UNFINISHED, CLAIMED, 0, 0),
                    *(step, wall_time, target, 0, 0.0),
                )
                return self._append(frame, FrameKind.SCALAR, 0, claimed=True)
            sequence = self._sequence + 1
            self._sequence = sequence
            self._offset = end
            view = self._view
            try:
                _pack_scalar(view, offset, _CLAIMED_SCALAR, sequence, step, wall_time, target, 0.0)
                self._claimed[sequence] = None
                view[offset + _KIND] = _SCALAR_KIND
            except BaseException:
                self._claimed.pop(sequence, None)
                self._take_back(sequence, offset)
                raise
            return sequence

    def append(
        self,
        kind: FrameKind,
        target: int,
        step: int,
        wall_time: float,
        payload: bytes = b"",
        *,
        claimed: bool = False,
        reserved: bool = False,
    ) -> int:
        """Appends any frame and returns its sequence number, 0 if the log is full.

        ``claimed`` frames hold up reading until ``commit``, ``commit_scalar``
        or ``abort``. ``reserved`` frames may use the reserve, as scalars do.
        Raises ``struct.error`` for a step outside int64; nothing is appended then.
        """
        size_bytes = frame_bytes(len(payload))
        flags = CLAIMED if claimed else 0
        frame = HEADER.pack(
            size_bytes,
            FrameKind.UNFINISHED,
            flags,
            0,
            0,
            step,
            wall_time,
            target,
            len(payload),
            0.0,
        )
        frame = (frame + payload).ljust(size_bytes, b"\0")
        with self._lock:
            reserve_bytes = 0 if reserved else self._reserve_bytes
            return self._append(frame, kind, reserve_bytes, claimed=claimed)

    def _append(
        self, frame: bytes, kind: FrameKind, reserve_bytes: int, *, claimed: bool = False
    ) -> int:
        """Appends ``frame``, which has neither its kind nor its sequence number yet."""
        try:
            sequence, offset = self._take_room(len(frame), reserve_bytes)
            if not sequence:
                return 0
            self._view[offset : offset + len(frame)] = frame
            _SEQUENCE.pack_into(self._view, offset + _SEQUENCE_OFFSET, sequence)
            if claimed:
                self._claimed[sequence] = None
            self._view[offset + _KIND] = kind
            self._unfinished.pop(sequence, None)  # an interrupting handler may have been there
        except BaseException:
            self._abort_unfinished()
            raise
        return sequence

    def commit(self, sequence: int) -> None:
        """Marks a pending frame complete."""
        with self._lock:
            offset = self._offset_of(sequence)
            del self._claimed[sequence]
            self._view[offset + FLAGS_OFFSET] = 0

    def commit_scalar(self, sequence: int, value: float) -> None:
        """Gives a pending scalar its value."""
        with self._lock:
            _VALUE.pack_into(self._view, self._offset_of(sequence) + VALUE_OFFSET, value)
            self.commit(sequence)

    def abort(self, sequence: int, reason: str) -> None:
        """Turns a frame that was not sent yet into ABORTED: the record is lost.

        The frame keeps its size, so ``reason`` is cut to what the payload holds
        (nothing, for a scalar) and filled with spaces.
        """
        with self._lock:
            offset = self._offset_of(sequence)
            (payload_bytes,) = _SIZE.unpack_from(self._view, offset + _PAYLOAD_BYTES_OFFSET)
            start = offset + HEADER_BYTES
            # Cut between characters, not inside one.
            text = reason.encode()[:payload_bytes].decode(errors="ignore").encode()
            self._view[start : start + payload_bytes] = text.ljust(payload_bytes)
            self._view[offset + _KIND] = FrameKind.ABORTED
            self._view[offset + FLAGS_OFFSET] = 0
            self._claimed.pop(sequence, None)

    def first_claimed(self) -> int | None:
        """Sequence number of the oldest pending frame."""
        with self._lock:
            return next(iter(self._claimed), None)

    def is_claimed(self, sequence: int) -> bool:
        """Whether the frame waits for its value or tensors."""
        with self._lock:
            return sequence in self._claimed

    def target_of(self, sequence: int) -> int | None:
        """The frame's target (END_RUN: its run); None when it is not in the log."""
        with self._lock:
            if not self._freed_sequence < sequence <= self._sequence:
                return None
            offset = self._offset_of(sequence) + _TARGET_OFFSET
            target: int = _SIZE.unpack_from(self._view, offset)[0]
            return target

    def size_of(self, sequence: int) -> int:
        """Bytes of the frame. Raises ``KeyError`` when it is not in the log."""
        with self._lock:
            size_bytes: int = _SIZE.unpack_from(self._view, self._offset_of(sequence))[0]
            return size_bytes

    def readable(self) -> int:
        """Sequence number of the last frame that lies before every pending one."""
        with self._lock:
            return next(iter(self._claimed), self._sequence + 1) - 1

    def position_after(self, sequence: int) -> int:
        """Where the frame behind that of ``sequence`` begins, or will: a position or before it
        a filler. Raises ``KeyError`` when the frame behind it is gone.
        """
        with self._lock:
            if not self._freed_sequence <= sequence <= self._sequence:
                raise KeyError(sequence)
            if sequence == self._sequence:
                return self._lap + self._offset
            return self._position_in(self._segment_of(sequence + 1), sequence + 1)

    def read(self, after: int, until: int, max_bytes: int) -> tuple[memoryview, int]:
        """Returns whole frames that lie back to back, and the last one's sequence number.

        They begin with the frame behind sequence number ``after`` and end before a
        pending frame, behind ``until``, at the buffer's end, or where the next
        frame would exceed ``max_bytes`` (the first frame is returned all the same).
        Nothing to read: an empty view and ``after``. The view holds until the
        frames are freed.
        """
        with self._lock:
            if after < self._freed_sequence:
                raise ValueError(f"frame {after + 1} was freed (up to {self._freed_sequence})")
            last = min(until, self._sequence, next(iter(self._claimed), self._sequence + 1) - 1)
            if after >= last:
                return self._view[:0], after
            sequence = after + 1
            segment = self._segment_of(sequence)
            start = self._position_in(segment, sequence)
            length = 0
            while sequence <= last:
                # All frames of a segment but its last have 48 bytes.
                segment_last = last
                if segment + 1 < len(self._segment_sequences):
                    segment_last = min(last, self._segment_sequences[segment + 1] - 1)
                scalars = segment_last - sequence
                final_bytes = self._size_at(self._position_in(segment, segment_last))
                wanted = scalars * HEADER_BYTES + final_bytes
                if length + wanted > max_bytes:
                    taken = min(scalars, (max_bytes - length) // HEADER_BYTES)
                    length += taken * HEADER_BYTES
                    sequence += taken
                    if length == 0:
                        length = HEADER_BYTES if scalars else final_bytes
                        sequence += 1
                    break
                length += wanted
                sequence = segment_last + 1
                segment += 1
                if segment < len(self._segment_positions):
                    following = self._segment_positions[segment]
                    if following != start + length or following % self.size_bytes == 0:
                        break
            offset = start % self.size_bytes
            return self._view[offset : offset + length], sequence - 1

    def free(self, through: int) -> None:
        """Gives back the space of all frames up to sequence number ``through``.

        Pending frames are never freed, nor frames that do not exist yet.
        """
        with self._lock:
            through = min(through, self._sequence)
            first_claimed = next(iter(self._claimed), None)
            if first_claimed is not None:
                through = min(through, first_claimed - 1)
            if through <= self._freed_sequence:
                return
            # Not where the next frame begins: a filler before that is still to be read.
            position = self._position_in(self._segment_of(through), through)
            self._tail = position + self._size_at(position)
            self._freed_sequence = through
            self._first_segment = self._segment_of(through + 1)
            if self._first_segment > _STALE_SEGMENTS:
                del self._segment_sequences[: self._first_segment]
                del self._segment_positions[: self._first_segment]
                self._first_segment = 0
            self._update_limit()

    def release(self) -> None:
        """Lets go of the buffer; there must be nothing to read. From then on the log is full."""
        with self._lock:
            self._view = self._view[:0]
            self._bytes, self._words = self._bytes[:0].copy(), self._words[:0].copy()
            self._values = self._values[:0].copy()
            self._limit = 0

    def notify_backlog(self, records: int, notify: Callable[[], None] | None) -> None:
        """Calls ``notify`` once, from a trainer, when so many frames more were appended.

        Costs the calls before it nothing: the check for space stops there too.
        ``notify`` must not block. ``records`` 0 or ``notify`` None: never.
        """
        with self._lock:
            self._backlog_notify = notify
            self._backlog_at = self._sequence + records if records > 0 and notify else 0
            self._update_limit()

    def _take_room_alike(self, count: int) -> tuple[int, int, int]:
        """Makes room for scalars' frames, those that do not fit at the buffer's start.

        Returns the first one's sequence number and offset, and how many of them lie there;
        (0, 0, 0) if there is no room for all.
        """
        if self._taking_room or not self._view:
            return 0, 0, 0
        self._taking_room = True
        self._limit = 0
        try:
            self._notify_of(count)
            free_bytes = self.size_bytes - (self._lap + self._offset - self._tail)
            to_end = self.size_bytes - self._offset
            before = min(count, to_end // HEADER_BYTES)
            after = count - before
            skipped = to_end - before * HEADER_BYTES if after else 0
            if count * HEADER_BYTES + skipped > free_bytes:
                return 0, 0, 0
            sequence, offset = self._sequence + 1, self._offset
            end = offset + before * HEADER_BYTES
            if skipped:
                self._fill(end, skipped)
            offsets = [
                *range(offset, end, HEADER_BYTES),
                *range(0, after * HEADER_BYTES, HEADER_BYTES),
            ]
            unfinished = {sequence + i: (at, HEADER_BYTES) for i, at in enumerate(offsets)}
            # From here on without a call, where a signal handler might run and raise.
            if after:
                self._lap += self.size_bytes
                end = after * HEADER_BYTES
                if self._segment_sequences[-1] == sequence + before:
                    self._segment_positions[-1] = self._lap
                else:
                    self._segment_sequences += [sequence + before]
                    self._segment_positions += [self._lap]
            self._unfinished |= unfinished
            self._sequence += count
            self._offset = end
        finally:
            self._taking_room = False
        self._update_limit()
        return sequence, offset, before

    def _notify_of(self, frames: int) -> None:
        """Tells of the backlog, if so many frames more reach it."""
        if self._backlog_at and self._sequence + frames >= self._backlog_at:
            self._backlog_at = 0
            if self._backlog_notify is not None:
                self._backlog_notify()

    def _fill(self, offset: int, size_bytes: int) -> None:
        """Writes a filler."""
        _PADDING.pack_into(self._view, offset, size_bytes | PADDING << 8 * FLAGS_OFFSET)

    def _take_room(self, size_bytes: int, reserve_bytes: int) -> tuple[int, int]:
        """Sequence number and offset of a new frame; (0, 0) if there is no room."""
        if self._taking_room or not self._view:
            return 0, 0
        self._taking_room = True
        self._limit = 0
        try:
            self._notify_of(1)
            free_bytes = self.size_bytes - (self._lap + self._offset - self._tail)
            to_end = self.size_bytes - self._offset
            skipped = to_end if to_end < size_bytes else 0
            if size_bytes + reserve_bytes + skipped > free_bytes:
                return 0, 0
            if skipped and to_end:
                self._fill(self._offset, to_end)
            # From here on without a call, where a signal handler might run and raise.
            if to_end < size_bytes:
                self._lap += self.size_bytes
                self._offset = 0
                if self._segment_sequences[-1] == self._sequence + 1:
                    self._segment_positions[-1] = self._lap
                else:
                    self._segment_sequences += [self._sequence + 1]
                    self._segment_positions += [self._lap]
            sequence, offset = self._sequence + 1, self._offset
            self._unfinished[sequence] = (offset, size_bytes)
            self._sequence = sequence
            self._offset = offset + size_bytes
            if size_bytes != HEADER_BYTES:
                self._segment_sequences += [sequence + 1]
                self._segment_positions += [self._lap + self._offset]
        finally:
            self._taking_room = False
        self._update_limit()
        return sequence, offset

    def _take_back(self, sequence: int, offset: int, count: int = 1) -> None:
        """Undoes the quick claim of scalars' frames that were not finished.

        ``sequence`` is the last one's, ``offset`` the first one's.
        """
        if self._sequence == sequence:
            self._sequence = sequence - count
            self._offset = offset
            self._update_limit()
        else:  # a signal handler has logged behind them
            for index in range(count):
                at = offset + index * HEADER_BYTES
                self._unfinished[sequence - count + 1 + index] = (at, HEADER_BYTES)
            self._abort_unfinished()

    def _abort_unfinished(self) -> None:
        """Turns into ABORTED what was claimed and not finished, because something raised.

        A frame that a signal handler has interrupted may be among them; it is finished
        after all if the handler's error is caught.
        """
        while self._unfinished:
            sequence, (offset, size_bytes) = self._unfinished.popitem()
            payload_bytes = size_bytes - HEADER_BYTES
            aborted = HEADER.pack(
                size_bytes, FrameKind.ABORTED, 0, 0, sequence, 0, 0.0, 0, payload_bytes, 0.0
            )
            self._view[offset : offset + size_bytes] = aborted + b" " * payload_bytes
            self._claimed.pop(sequence, None)

    def _update_limit(self) -> None:
        if not self._view:
            return
        free_bytes = self.size_bytes - (self._lap + self._offset - self._tail)
        limit = min(self.size_bytes, self._offset + free_bytes)
        if self._backlog_at:
            records = max(self._backlog_at - 1 - self._sequence, 0)
            limit = min(limit, self._offset + records * HEADER_BYTES)
        self._limit = limit

    def _segment_of(self, sequence: int) -> int:
        return bisect_right(self._segment_sequences, sequence, lo=self._first_segment) - 1

    def _position_in(self, segment: int, sequence: int) -> int:
        return (
            self._segment_positions[segment]
            + (sequence - self._segment_sequences[segment]) * HEADER_BYTES
        )

    def _offset_of(self, sequence: int) -> int:
        if not self._freed_sequence < sequence <= self._sequence:
            raise KeyError(sequence)
        return self._position_in(self._segment_of(sequence), sequence) % self.size_bytes

    def _size_at(self, position: int) -> int:
        size_bytes: int = _SIZE.unpack_from(self._view, position % self.size_bytes)[0]
        return size_bytes
