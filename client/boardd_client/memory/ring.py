"""The ring of record frames that a process keeps until the daemon wrote them.

One flat buffer, which may lie in memory shared with the daemon; its layout is
that of ``boardd_protos.shared``, and the frames are those of
``boardd_protos.frame``, written in place. Each frame's kind is written last, by
a store of its own: a process that is killed in between leaves no frame that is
half one record and half another.

``segments`` tells where the frame of a sequence number lies; ``ring_space``, what is free.

No I/O, no clock, no thread. Every method may be called from any thread.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from boardd_protos.frame import (
    CLAIMED,
    FLAGS_OFFSET,
    HEADER,
    HEADER_BYTES,
    KIND_OFFSET,
    VALUE_OFFSET,
    FrameKind,
    frame_bytes,
)
from numpy.typing import NDArray

from boardd_client.memory.ring_space import RingSpace

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

# Frames of scalars that are written together share one header, packed likewise. Of its six words
# of eight bytes, the first holds the kind, and these differ from frame to frame.
_pack_alike: Final = struct.Struct("<QQqdQd").pack
_WORD_BYTES: Final = 8
_WORDS: Final = HEADER_BYTES // _WORD_BYTES
_SEQUENCE_WORD: Final = 1
_TARGET_WORD: Final = 4
_VALUE_WORD: Final = 5


class Ring(RingSpace):
    """A ring of frames over ``buffer``, appended by trainers, read by a sender.

    ``buffer`` is writable, contiguous and at least a few frames long; the part
    beyond a multiple of eight is not used. ``reserve_bytes`` are kept for
    scalars: no other frame may take the last ``reserve_bytes`` free bytes. ``lock`` is a
    re-entrant lock to share with others; by default the ring has its own. ``tail_words``, a
    view of two "Q", tells readers of another process what is freed.
    """

    __slots__ = ("_bytes", "_claimed", "_values", "_words", "on_lost")

    def __init__(
        self,
        buffer: memoryview,
        *,
        reserve_bytes: int = 0,
        lock: AbstractContextManager[Any] | None = None,
        tail_words: memoryview | None = None,
    ) -> None:
        super().__init__(buffer, reserve_bytes=reserve_bytes, lock=lock, tail_words=tail_words)
        #: Called, under the lock, with the number of each frame that became ABORTED because
        #: something raised while it was written.
        self.on_lost: Callable[[int], None] = lambda sequence: None
        # The same bytes as arrays, for many frames at once.
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._view, np.uint8)
        self._words: NDArray[np.uint64] = self._bytes.view("<u8")
        self._values: NDArray[np.float64] = self._bytes.view("<f8")
        self._claimed: OrderedDict[int, None] = OrderedDict()

    def append_scalar(self, target: int, step: int, wall_time: float, value: float) -> int:
        """Appends a scalar's frame and returns its sequence number, 0 if the ring is full.

        Raises ``struct.error`` for a step outside int64 and for an integer value
        that no float64 holds; nothing is appended then.
        """
        with self._lock:
            offset = self._offset
            end = offset + HEADER_BYTES
            if end > self._limit:
                frame = _unnumbered(target, step, wall_time, value=value)
                return self._append(frame, FrameKind.SCALAR, 0)
            # Room is taken before the frame is written: see __init__ on signal handlers.
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
                self._undo(sequence, offset)
                raise
            return sequence

    def append_scalars(
        self, targets: NDArray[np.uint64], step: int, wall_time: float, values: NDArray[np.float64]
    ) -> int:
        """Appends a scalar's frame for each target, all of them or none.

        ``targets`` and ``values`` have shape ``[n]``, n at least 1; n frames are at most
        ``largest_frame_bytes``. Returns the last frame's sequence number, 0 if the ring is full.
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
                self._undo(sequence, offset, count)
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
        last_before = self._sequence
        try:
            sequence, offset, before = self._take_room(HEADER_BYTES, 0, count)
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
            self._abort_unfinished(last_before)
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
                frame = _unnumbered(target, step, wall_time, flags=CLAIMED)
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
                self._undo(sequence, offset)
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
        """Appends any frame and returns its sequence number, 0 if the ring is full.

        ``claimed`` frames hold up reading until ``commit``, ``commit_scalar``
        or ``abort``. ``reserved`` frames may use the reserve, as scalars do.
        Raises ``struct.error`` for a step outside int64; nothing is appended then.
        """
        flags = CLAIMED if claimed else 0
        frame = _unnumbered(target, step, wall_time, flags=flags, payload=payload)
        with self._lock:
            reserve_bytes = 0 if reserved else self._reserve_bytes
            return self._append(frame, kind, reserve_bytes, claimed=claimed)

    def _append(
        self, frame: bytes, kind: FrameKind, reserve_bytes: int, *, claimed: bool = False
    ) -> int:
        """Appends ``frame``, which has neither its kind nor its sequence number yet."""
        last_before = self._sequence
        try:
            sequence, offset, _ = self._take_room(len(frame), reserve_bytes)
            if not sequence:
                return 0
            self._view[offset : offset + len(frame)] = frame
            _SEQUENCE.pack_into(self._view, offset + _SEQUENCE_OFFSET, sequence)
            if claimed:
                self._claimed[sequence] = None
            self._view[offset + _KIND] = kind
            self._unfinished.pop(sequence, None)  # an interrupting handler may have been there
        except BaseException:
            self._abort_unfinished(last_before)
            raise
        return sequence

    def commit(self, sequence: int) -> None:
        """Marks a claimed frame complete."""
        with self._lock:
            offset = self._offset_of(sequence)
            del self._claimed[sequence]
            self._view[offset + FLAGS_OFFSET] = 0

    def commit_scalar(self, sequence: int, value: float) -> None:
        """Gives a claimed scalar its value."""
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
        """Sequence number of the oldest claimed frame; None if there is none."""
        with self._lock:
            return next(iter(self._claimed), None)

    def is_claimed(self, sequence: int) -> bool:
        """Whether the frame waits for its value or tensors."""
        with self._lock:
            return sequence in self._claimed

    def target_of(self, sequence: int) -> int | None:
        """The frame's target (END_RUN: its run); None when it is not in the ring."""
        with self._lock:
            if not self._freed_sequence < sequence <= self._sequence:
                return None
            offset = self._offset_of(sequence) + _TARGET_OFFSET
            target: int = _SIZE.unpack_from(self._view, offset)[0]
            return target

    def size_of(self, sequence: int) -> int:
        """Bytes of the frame. Raises ``KeyError`` when it is not in the ring."""
        with self._lock:
            size_bytes: int = _SIZE.unpack_from(self._view, self._offset_of(sequence))[0]
            return size_bytes

    def readable(self) -> int:
        """Sequence number of the last frame that lies before every claimed one."""
        with self._lock:
            return next(iter(self._claimed), self._sequence + 1) - 1

    def read(self, after: int, until: int, max_bytes: int) -> tuple[memoryview, int]:
        """Returns whole frames that lie back to back, and the last one's sequence number.

        They begin with the frame after sequence number ``after``. They end before a claimed
        frame, after ``until``, at the buffer's end, or before the frame that would exceed
        ``max_bytes`` (the first frame is returned all the same). If there is nothing to read,
        this is an empty view and ``after``. The view holds until the frames are freed.

        Raises ``ValueError`` if the frame after ``after`` was freed.
        """
        with self._lock:
            if after < self._freed_sequence:
                raise ValueError(f"frame {after + 1} was freed (up to {self._freed_sequence})")
            last = min(until, self._sequence, next(iter(self._claimed), self._sequence + 1) - 1)
            if after >= last:
                return self._view[:0], after
            sequence = after + 1
            segments = self._segments
            segment = segments.index_of(sequence)
            start = segments.position_in(segment, sequence)
            length = 0
            while sequence <= last:
                # All frames of a segment but its last have 48 bytes.
                segment_last = min(last, segments.last_in(segment, last))
                scalars = segment_last - sequence
                final_bytes = self._size_at(segments.position_in(segment, segment_last))
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
                if segment < len(segments.positions):
                    following = segments.positions[segment]
                    if following != start + length or following % self.size_bytes == 0:
                        break
            offset = start % self.size_bytes
            return self._view[offset : offset + length], sequence - 1

    def abort_unfinished(self) -> None:
        """Turns into ABORTED what nobody will finish any more.

        Not for a thread that signal handlers interrupt: while another one holds the lock, no
        call is in the middle of a frame, and what is unfinished was left when a handler
        raised while an error of another one was being dealt with.
        """
        if self._unfinished:
            with self._lock:
                self._abort_unfinished(self._freed_sequence)

    def free(self, through: int) -> None:
        """Gives back the space of all frames up to sequence number ``through``.

        Claimed frames are never freed, nor frames that do not exist yet.
        """
        with self._lock:
            through = min(through, self._sequence)
            first_claimed = next(iter(self._claimed), None)
            if first_claimed is not None:
                through = min(through, first_claimed - 1)
            if through <= self._freed_sequence:
                return
            self._free(through)

    def release(self) -> None:
        """Lets go of the buffer; there must be nothing to read. From then on the ring is full."""
        with self._lock:
            self._view = memoryview(b"")  # even an empty slice would keep all of the memory
            self._tail_words = None
            self._bytes, self._words = self._bytes[:0].copy(), self._words[:0].copy()
            self._values = self._values[:0].copy()
            self._limit = 0

    def _undo(self, sequence: int, offset: int, count: int = 1) -> None:
        if not self._take_back(sequence, offset, count):
            self._abort_unfinished(sequence - count)

    def _abort_unfinished(self, last_before: int) -> None:
        """Turns into ABORTED what was numbered after ``last_before`` and not finished.

        Something has raised. Frames up to ``last_before`` belong to the calls that a signal
        handler interrupted, which finish them if the handler's error is caught.
        """
        for sequence in [number for number in self._unfinished if number > last_before]:
            offset, size_bytes = self._unfinished[sequence]
            payload_bytes = size_bytes - HEADER_BYTES
            aborted = HEADER.pack(
                size_bytes, FrameKind.ABORTED, 0, 0, sequence, 0, 0.0, 0, payload_bytes, 0.0
            )
            self._view[offset : offset + size_bytes] = aborted + b" " * payload_bytes
            self._claimed.pop(sequence, None)
            # Not before: if a signal handler raises in here, the frame is still known.
            del self._unfinished[sequence]
            self.on_lost(sequence)


def _unnumbered(
    target: int,
    step: int,
    wall_time: float,
    *,
    flags: int = 0,
    value: float = 0.0,
    payload: bytes = b"",
) -> bytes:
    """A frame that has neither its kind nor its sequence number yet."""
    size_bytes = frame_bytes(len(payload))
    header = HEADER.pack(
        *(size_bytes, FrameKind.UNFINISHED, flags, 0, 0),
        *(step, wall_time, target, len(payload), value),
    )
    return (header + payload).ljust(size_bytes, b"\0")
