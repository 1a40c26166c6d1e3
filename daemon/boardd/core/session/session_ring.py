"""The ring of one session: where it is read on, through streams that break and new handovers."""

from __future__ import annotations

from collections.abc import Callable

from boardd_protos.frame import HEADER_BYTES
from boardd_protos.log_file import LogWords

from boardd.core.errors import RequestError
from boardd.core.intake.parked_frames import ParkedFrames
from boardd.core.intake.shared_ring import RingBytes, SharedRing


class SessionRing:
    """Where the ring that a client shares is read on; a frame has ``max_frame_bytes`` at most."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        #: None while no stream has said where to read on, and nothing is salvaged.
        self.reading: SharedRing | None = None

    def committed_sequence(self, received_sequence: int) -> int:
        """The last record that the client has handed in: sent, or committed in the ring."""
        if self.reading is None:
            return received_sequence
        return max(received_sequence, self.reading.committed_sequence)

    def attach(self, ring: RingBytes | None, sequence: int, position: int) -> None:
        """Reads on at ``position`` of ``ring``, behind the record ``sequence``.

        What was not received up to there comes by itself, or is done. Raises ``RequestError``
        if there is no ring, or if ``position`` is none of a frame.
        """
        if ring is None:
            raise RequestError(
                "log_from is set, but no ring is shared; hand it over first, on the socket beside "
                "this one"
            )
        self.reading = SharedRing(ring, sequence, position, self._max_frame_bytes)

    def salvage(self, ring: RingBytes, words: LogWords, received_sequence: int) -> SharedRing:
        """Reads on what a dead client has left: behind what was read, else from its tail on.

        Raises ``RequestError`` if the ring cannot be read.
        """
        if self.reading is None:
            self.reading = SharedRing.at_tail(ring, words, received_sequence, self._max_frame_bytes)
        return self.reading

    def parked(
        self,
        read: Callable[[int, int], bytes],
        capacity_bytes: int,
        words: LogWords,
        received_sequence: int,
    ) -> ParkedFrames:
        """What a dead client has left beside its ring; see there."""
        return ParkedFrames(read, capacity_bytes, words, received_sequence, self._max_frame_bytes)

    @property
    def has_remains(self) -> bool:
        """Whether a dead client's ring has frames behind what was read.

        Raises ``RequestError`` if it cannot be read.
        """
        reading = self.reading
        return reading is not None and reading.salvage(HEADER_BYTES).position > reading.position

    def let_go(self) -> None:
        """Reads no more, and keeps no memory of the client."""
        self.reading = None
