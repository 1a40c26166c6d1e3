"""Up to which sequence number everything is done."""

from __future__ import annotations


class Watermark:
    """The end of the unbroken prefix of finished sequence numbers.

    Ranges finish in any order, each once; memory grows with the number of
    finished ranges beyond the first gap, never with their lengths.
    """

    def __init__(self, written_sequence: int = 0) -> None:
        self._written_sequence = written_sequence
        self._beyond: dict[int, int] = {}

    @property
    def written_sequence(self) -> int:
        """Every sequence number up to this one is finished."""
        return self._written_sequence

    def finish(self, first: int, last: int) -> bool:
        """Finishes ``first`` to ``last``, both included. Returns whether the mark moved.

        Raises ``ValueError`` for an empty range, and for one that begins at a
        number already finished.
        """
        if last < first or first <= self._written_sequence or first in self._beyond:
            raise ValueError(
                f"range {first} to {last} is empty or already finished "
                f"(all up to {self._written_sequence} are)"
            )
        self._beyond[first] = last
        before = self._written_sequence
        while (end := self._beyond.pop(self._written_sequence + 1, None)) is not None:
            self._written_sequence = end
        return self._written_sequence > before
