"""Reads the ring that a client shares; ``boardd_protos.shared`` has its layout.

The client may write to its ring while it is read, and may be hostile. So bytes
are copied first, and only the copy is looked at: a header that changes in the
meantime cannot lead beyond it.

A living client's ring is read up to what the client has committed. What a dead
one left is read on from there, as long as frame follows frame.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Protocol

from boardd_protos.frame import ALIGNMENT, HEADER, HEADER_BYTES, FrameError
from boardd_protos.log_file import LogWords

from boardd.core.errors import RequestError
from boardd.core.intake.frames import ScalarFrames, WalkedFrames
from boardd.core.intake.walker import Source, padding_at, walk

_SIZE: Final = struct.Struct("<I")


class RingFrames(NamedTuple):
    """Frames that follow each other in a ring, copied and taken apart."""

    frames: list[WalkedFrames]  #: without padding
    sequence: int  #: of the last frame
    position: int  #: where the ring goes on
    lost: int = 0  #: frames that were claimed, and are ABORTED here


class RingBytes(Protocol):
    """The memory of a ring."""

    @property
    def size_bytes(self) -> int:
        """A multiple of eight, at least ``shared.MIN_RING_BYTES``."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """A copy of bytes that lie in it. Raises ``RequestError`` if it has them no more."""


class SharedRing:
    """What was read of a client's ring, and what may be read.

    Reading begins at ``position``, behind the frame of ``sequence``. A frame has at most
    ``max_frame_bytes``. Frames up to ``known_sequence`` are passed over.

    Raises ``RequestError`` for a position at which no frame can be.
    """

    def __init__(
        self,
        ring: RingBytes,
        sequence: int,
        position: int,
        max_frame_bytes: int,
        known_sequence: int = 0,
    ) -> None:
        _check_aligned(position)
        self._ring = ring
        self._max_frame_bytes = max_frame_bytes
        self._known_sequence = known_sequence
        #: Of the last frame that was taken.
        self.sequence = sequence
        #: Where the next frame begins, or padding before it.
        self.position = position
        self._committed_sequence = sequence
        self._committed_position = position
        self._end: int | None = None

    @classmethod
    def at_tail(
        cls, ring: RingBytes, words: LogWords, received_sequence: int, max_frame_bytes: int
    ) -> SharedRing:
        """The ring of a dead client, of which only ``words`` say where to begin.

        Raises ``RequestError`` if no frame can be there, or the ring cannot be read.
        """
        known = max(words.freed_sequence, received_sequence)
        offset = words.tail % ring.size_bytes
        if padding_at(ring.read(offset, ALIGNMENT), 0):
            offset = 0
        sequence = known
        if ring.size_bytes - offset >= HEADER_BYTES:
            # Of an empty ring this is a frame of an earlier lap.
            first = HEADER.unpack(ring.read(offset, HEADER_BYTES))[4]
            sequence = min(known, max(0, first - 1))
        return cls(ring, sequence, words.tail, max_frame_bytes, known)

    @property
    def has_more(self) -> bool:
        """Whether something is committed and not taken."""
        return self._committed_position > self.position

    @property
    def committed_sequence(self) -> int:
        """The last frame that is committed."""
        return self._committed_sequence

    def commit(self, sequence: int, position: int) -> None:
        """Notes that the client has committed its ring up to there.

        Raises ``RequestError`` when that is before what it committed, or further
        on than the ring is long.
        """
        _check_aligned(position)
        if sequence < self._committed_sequence or position < self._committed_position:
            raise RequestError(
                f"committed up to record {sequence}, position {position}: before record "
                f"{self._committed_sequence}, position {self._committed_position}"
            )
        if position - self.position > self._ring.size_bytes:
            raise RequestError(
                f"committed up to position {position}: the ring has {self._ring.size_bytes} bytes "
                f"and is read up to {self.position}"
            )
        self._committed_sequence, self._committed_position = sequence, position

    def read(self, limit_bytes: int) -> RingFrames:
        """Returns what comes next of what is committed, and takes nothing yet; see ``advance``.

        That is about ``limit_bytes`` at most, or one frame that is larger.
        Raises ``FrameError`` when the ring does not hold what it should.
        """
        found, why = self._walk(self._committed_position, limit_bytes, Source.RING)
        if why and found.position == self.position:
            raise FrameError(f"shared ring, position {self.position}: {why}")
        at_end = found.position == self._committed_position
        if at_end and found.sequence != self._committed_sequence:
            raise FrameError(
                f"shared ring: record {found.sequence} ends at position {found.position}, where "
                f"record {self._committed_sequence} was to end"
            )
        return found

    def salvage(self, limit_bytes: int) -> RingFrames:
        """As ``read``, of what a dead client left, committed or not.

        Ends before a frame that is not finished, not the next in sequence or of
        an impossible size: there are then no frames, and ``position`` is the ring's.
        """
        if self._end is None:
            # Frames that are read once cannot come again, whoever goes on writing.
            self._end = self.position + self._ring.size_bytes
        found, _ = self._walk(self._end, limit_bytes, Source.REMAINS)
        return found

    def advance(self, taken: RingFrames) -> None:
        """Takes these frames: the ring goes on behind them."""
        self.sequence, self.position = taken.sequence, taken.position

    def _walk(self, end: int, limit_bytes: int, source: Source) -> tuple[RingFrames, str]:
        """Copies whole frames up to position ``end``; says why there is none."""
        ring_bytes = self._ring.size_bytes
        offset = self.position % ring_bytes
        to_ring_end = ring_bytes - offset
        available = min(end - self.position, to_ring_end)
        wanted = min(available, limit_bytes)
        if available:
            (first_bytes,) = _SIZE.unpack(self._ring.read(offset, _SIZE.size))
            wanted = max(wanted, min(first_bytes, self._max_frame_bytes, available))
        found = walk(
            self._ring.read(offset, wanted),
            self.sequence,
            source,
            available=available,
            max_frame_bytes=self._max_frame_bytes,
        )
        why, position = found.why, self.position + found.size_bytes
        if found.padding_bytes:
            padded_bytes = found.size_bytes + found.padding_bytes
            if padded_bytes == to_ring_end == available:
                position += found.padding_bytes
            else:
                why = f"padding of {found.padding_bytes} bytes that does not end with the ring"
        frames = _above(self._known_sequence, found.frames)
        return RingFrames(frames, found.sequence, position, found.lost), why


def _above(sequence: int, frames: list[WalkedFrames]) -> list[WalkedFrames]:
    """Those of ``frames`` with higher sequence numbers."""
    above: list[WalkedFrames] = []
    for frame in frames:
        if isinstance(frame, ScalarFrames):
            passed = max(0, sequence + 1 - frame.first_sequence)
            if passed < len(frame):
                above.append(frame[passed:])
        elif frame.sequence > sequence:
            above.append(frame)
    return above


def _check_aligned(position: int) -> None:
    if position % ALIGNMENT:
        raise RequestError(f"position {position} of the ring is no multiple of {ALIGNMENT}")
