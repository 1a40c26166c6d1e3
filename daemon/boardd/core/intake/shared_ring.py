"""Reads the log that a client shares; ``boardd_protos.shared`` has its layout.

The client may write to the log while it is read, and may be hostile. So bytes
are copied first, and only the copy is looked at: a header that changes in the
meantime cannot lead beyond it.

A living client's log is read up to what the client has committed. What a dead
one left is read on from there, while frame follows frame.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from boardd_protos.frame import (
    ALIGNMENT,
    CLAIMED,
    FRAME_DTYPE,
    HEADER,
    HEADER_BYTES,
    PADDING,
    Frame,
    FrameError,
    FrameKind,
    decode,
    encode,
    frame_bytes,
)

from boardd.core.errors import RequestError
from boardd.core.intake.frames import Headers

#: No ring has fewer bytes.
MIN_RING_BYTES: Final = 2 * HEADER_BYTES

#: What becomes of a frame whose value was still being captured.
LOST: Final = "the process ended before the value was copied"

_SIZE: Final = struct.Struct("<I")
_PREFIX: Final = struct.Struct("<IBB")


class RingFrames(NamedTuple):
    """A stretch of the log, copied."""

    frames: bytes  #: whole frames back to back, without fillers
    definitions: list[bytes]  #: the payloads of those frames that are DEFINITIONS, in order
    sequence: int  #: of the last frame
    position: int  #: where the log goes on
    lost: int = 0  #: frames that were pending, and are VOID here


class SharedRing:
    """What of a client's ring was read, and what may be.

    ``ring`` is the client's memory, of a multiple of eight bytes, at least
    ``MIN_RING_BYTES``. Reading begins at ``position``, behind the frame of
    ``sequence``. A frame has at most ``max_frame_bytes``.

    Raises ``RequestError`` for a place where no frame can be.
    """

    def __init__(
        self, ring: memoryview, sequence: int, position: int, max_frame_bytes: int
    ) -> None:
        _check_aligned(position)
        self._ring = ring
        self._max_frame_bytes = max_frame_bytes
        #: Of the last frame that was taken.
        self.sequence = sequence
        #: Where the next frame begins, or a filler before it.
        self.position = position
        self._committed_sequence = sequence
        self._committed_position = position
        self._end: int | None = None

    @property
    def has_more(self) -> bool:
        """Whether something is committed and not taken."""
        return self._committed_position > self.position

    @property
    def committed_sequence(self) -> int:
        """The last frame that is committed."""
        return self._committed_sequence

    def commit(self, sequence: int, position: int) -> None:
        """Notes that the client has committed the log up to there.

        Raises ``RequestError`` when that is before what it committed, or further
        on than the ring is long.
        """
        _check_aligned(position)
        if sequence < self._committed_sequence or position < self._committed_position:
            raise RequestError(
                f"committed up to record {sequence}, position {position}: before record "
                f"{self._committed_sequence}, position {self._committed_position}"
            )
        if position - self.position > len(self._ring):
            raise RequestError(
                f"committed up to position {position}: the log has {len(self._ring)} bytes and is "
                f"read up to {self.position}"
            )
        self._committed_sequence, self._committed_position = sequence, position

    def read(self, limit_bytes: int) -> RingFrames:
        """Returns what comes next of what is committed, and takes nothing yet; see ``advance``.

        A chunk has about ``limit_bytes`` at most, or one frame that is larger.
        Raises ``FrameError`` where the log does not hold what it should.
        """
        chunk, why = self._walk(self._committed_position, limit_bytes, is_left=False)
        if why and chunk.position == self.position:
            raise FrameError(f"shared log, position {self.position}: {why}")
        at_end = chunk.position == self._committed_position
        if at_end and chunk.sequence != self._committed_sequence:
            raise FrameError(
                f"shared log: record {chunk.sequence} ends at position {chunk.position}, where "
                f"record {self._committed_sequence} was to end"
            )
        return chunk

    def salvage(self, limit_bytes: int) -> RingFrames:
        """As ``read``, of what a dead client left, committed or not.

        Ends before a frame that is not finished, not the next in sequence or of
        an impossible size: the chunk is then empty, its ``position`` the log's.
        """
        if self._end is None:
            # Frames that are read once cannot come again, whoever goes on writing.
            self._end = self.position + len(self._ring)
        chunk, _ = self._walk(self._end, limit_bytes, is_left=True)
        return chunk

    def advance(self, chunk: RingFrames) -> None:
        """Takes ``chunk``: the log goes on behind it."""
        self.sequence, self.position = chunk.sequence, chunk.position

    def _walk(self, end: int, limit_bytes: int, *, is_left: bool) -> tuple[RingFrames, str]:
        """Copies whole frames up to position ``end``; says why where there is none."""
        ring_bytes = len(self._ring)
        offset = self.position % ring_bytes
        available = min(end - self.position, ring_bytes - offset)
        wanted = min(available, limit_bytes)
        if wanted >= _SIZE.size:
            (first_bytes,) = _SIZE.unpack_from(self._ring, offset)
            wanted = max(wanted, min(first_bytes, self._max_frame_bytes, available))
        data = bytes(self._ring[offset : offset + wanted])
        whole: list[bytes] = []
        definitions: list[bytes] = []
        at = start = lost = 0
        sequence, filler_bytes, why = self.sequence, 0, ""
        while len(data) - at >= ALIGNMENT:
            size_bytes, kind, flags = _PREFIX.unpack_from(data, at)
            if kind == FrameKind.UNFINISHED and flags == PADDING:
                if at + size_bytes != ring_bytes - offset or at + size_bytes > available:
                    why = f"a filler of {size_bytes} bytes that does not end with the ring"
                else:
                    filler_bytes = size_bytes
                break
            if len(data) - at < HEADER_BYTES:
                why = "no whole header"
                break
            why = self._unfit(data, at, sequence + 1, available)
            if why:
                break
            if size_bytes > len(data) - at:
                # It begins the next chunk, unless the client changed it as it was copied.
                why = "" if at else f"a frame of {size_bytes} bytes that was smaller before"
                break
            count = 1
            if is_left and flags == CLAIMED:
                whole += (data[start:at], _voided(data[at : at + size_bytes]))
                start = at + size_bytes
                lost += 1
            elif kind == FrameKind.DEFINITIONS:
                payload_bytes = HEADER.unpack_from(data, at)[8]
                payload_at = at + HEADER_BYTES
                definitions.append(data[payload_at : payload_at + payload_bytes])
            elif flags == 0 and kind != FrameKind.SUMMARY:  # never are many of those alike
                count = _alike(data, at, size_bytes, sequence + 1)
            at += count * size_bytes
            sequence += count
        frames = b"".join((*whole, data[start:at])) if whole else data[:at]
        position = self.position + at + filler_bytes
        return RingFrames(frames, definitions, sequence, position, lost), why

    def _unfit(self, data: bytes, at: int, expected: int, available: int) -> str:
        """Why the frame at ``at`` is none that may come next; empty when it may."""
        size_bytes, kind, _, _, sequence, _, _, _, payload_bytes, _ = HEADER.unpack_from(data, at)
        if kind == FrameKind.UNFINISHED:
            return "a frame that is not finished"
        if sequence != expected:
            return f"record {sequence}, expected {expected}"
        if size_bytes != frame_bytes(payload_bytes) or size_bytes > available - at:
            return (
                f"record {sequence} has {size_bytes} bytes, its payload {payload_bytes}, and "
                f"{available - at} are left"
            )
        if size_bytes > self._max_frame_bytes:
            return (
                f"record {sequence} has {size_bytes} bytes; at most {self._max_frame_bytes} are "
                "taken, see --max-message-bytes"
            )
        return ""


def _check_aligned(position: int) -> None:
    if position % ALIGNMENT:
        raise RequestError(f"position {position} of the log is no multiple of {ALIGNMENT}")


def _voided(frame: bytes) -> bytes:
    pending = next(decode(frame))
    return encode(
        Frame(
            FrameKind.ABORTED,
            0,
            pending.sequence,
            pending.step,
            pending.wall_time,
            pending.target,
            0.0,
            LOST.encode(),
        )
    )


def _alike(data: bytes, at: int, size_bytes: int, sequence: int) -> int:
    """How many frames of one size and kind, without flags, follow each other from ``at`` on.

    Spares a look at each of them; ``sequence`` is the first one's.
    """
    available = (len(data) - at) // size_bytes
    following = at + size_bytes
    if available < 2 or data[following : following + 8] != data[at : at + 8]:
        return 1
    first = np.frombuffer(data, FRAME_DTYPE, 1, at)[0]
    count, window = 1, 16
    while count < available:
        following = at + count * size_bytes
        taken = min(window, available - count)
        rows: Headers = np.ndarray((taken,), FRAME_DTYPE, data, following, (size_bytes,))
        rising = np.arange(sequence + count, sequence + count + taken, dtype=np.uint64)
        alike = (
            (rows["size_bytes"] == size_bytes)
            & (rows["kind"] == first["kind"])
            & (rows["flags"] == 0)
            & (rows["payload_bytes"] == first["payload_bytes"])
            & (rows["sequence"] == rising)
        )
        if not alike.all():
            return count + int(alike.argmin())
        count += taken
        window *= 4
    return count
