"""Where in a ring the frame of a sequence number lies.

Scalars have 48 bytes each, so most positions follow from the one before: only
where the 48-byte steps are interrupted (after a longer frame, or padding) a
*segment* begins, with its first sequence number and position.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from boardd_protos.frame import HEADER_BYTES

#: Segments that may be stale before the lists of them are cut.
_STALE_SEGMENTS: Final = 1024


class Segments:
    """Not thread-safe: the ring locks.

    The ring itself appends to ``sequences`` and ``positions``, which have equal
    lengths: a call is where a signal handler might run and raise, and the ring's own
    end must move in the same step. All frames of a segment but its last have 48 bytes.
    """

    __slots__ = ("_first", "positions", "sequences")

    def __init__(self) -> None:
        self.sequences = [1]
        self.positions = [0]
        self._first = 0

    def index_of(self, sequence: int) -> int:
        """The segment that holds a sequence number, which was not forgotten."""
        return bisect_right(self.sequences, sequence, lo=self._first) - 1

    def position_in(self, index: int, sequence: int) -> int:
        """The position of a sequence number that lies in a segment."""
        return self.positions[index] + (sequence - self.sequences[index]) * HEADER_BYTES

    def position_of(self, sequence: int) -> int:
        """The position of a sequence number, which was not forgotten."""
        return self.position_in(self.index_of(sequence), sequence)

    def last_in(self, index: int, newest: int) -> int:
        """The last sequence number of a segment; ``newest`` if it is the last segment."""
        return self.sequences[index + 1] - 1 if index + 1 < len(self.sequences) else newest

    def forget(self, through: int) -> None:
        """Forgets positions up to that of a sequence number."""
        self._first = self.index_of(through + 1)
        if self._first > _STALE_SEGMENTS:
            del self.sequences[: self._first]
            del self.positions[: self._first]
            self._first = 0
