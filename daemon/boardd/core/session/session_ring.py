"""The ring of one session: where it is read on, through streams that break and new handovers."""

from __future__ import annotations

from boardd.core.errors import RequestError
from boardd.core.intake.shared_ring import SharedRing


class SessionRing:
    """Where the ring that a client shares is read on; a frame has ``max_frame_bytes`` at most."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        #: None while it is not known where to read on.
        self.reading: SharedRing | None = None

    def committed_sequence(self, received_sequence: int) -> int:
        """The last record that the client has handed in: sent, or committed in the ring."""
        if self.reading is None:
            return received_sequence
        return max(received_sequence, self.reading.committed_sequence)

    def hand_over(self, ring: memoryview, received_sequence: int) -> None:
        """Reads on in ``ring``, the same bytes mapped anew, or a new session's first ones."""
        if self.reading is not None:
            self._read_at(ring, self.reading.sequence, self.reading.position)
        elif received_sequence == 0:
            # Positions begin at 0 with the session, so it can be read already.
            self._read_at(ring, 0, 0)

    def attach(self, ring: memoryview | None, sequence: int, position: int) -> None:
        """Reads on at ``position`` of ``ring``, behind the record ``sequence``.

        What was not received up to there comes by itself, or is done. Raises ``RequestError``
        if there is no ring, or if ``position`` is none of a frame.
        """
        if ring is None:
            raise RequestError(
                "log_from is set, but no ring is shared; hand it over first, on the socket beside "
                "this one"
            )
        self._read_at(ring, sequence, position)

    def let_go(self) -> None:
        """Reads no more, and keeps no memory of the client."""
        self.reading = None

    def _read_at(self, ring: memoryview, sequence: int, position: int) -> None:
        self.reading = SharedRing(ring, sequence, position, self._max_frame_bytes)
