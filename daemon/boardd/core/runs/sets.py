"""The sets of series of one session: what frames of many scalars name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.intake.columns import ranges
from boardd.core.refusals import Refusal

#: Series in one set.
MAX_SET_SERIES: Final = 100_000
#: Memory that a series of a set takes: its number, place, tag and refusal.
SET_SERIES_BYTES: Final = 28


@dataclass(frozen=True)
class _Set:
    """One set: its series as it was defined, and where its members begin."""

    series: NDArray[np.uint32]
    first: int = 0
    refusal: Refusal | None = None


class SetTable:
    """Sets looked up for whole columns of frames at once."""

    def __init__(self) -> None:
        self._sets: dict[int, _Set] = {}
        #: Place, tag and refusal of the members of all sets, one set after the other.
        self._members = np.zeros((3, 1024), np.intp)
        self._length = 0

    def __len__(self) -> int:
        return len(self._sets)

    def __contains__(self, number: int) -> bool:
        return number in self._sets

    def is_same(self, number: int, series: NDArray[np.uint32]) -> bool:
        """Whether set ``number`` was defined with just these series, or is refused anyhow."""
        known = self._sets[number]
        return known.refusal is not None or np.array_equal(known.series, series)

    def add(
        self,
        number: int,
        series: NDArray[np.uint32],
        members: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]],
    ) -> None:
        """Adds a set; ``members`` are the place, tag and refusal of each of its series."""
        end = self._length + len(series)
        if end > self._members.shape[1]:
            grown = np.zeros((3, max(end, 2 * self._members.shape[1])), np.intp)
            grown[:, : self._length] = self._members[:, : self._length]
            self._members = grown
        self._members[:, self._length : end] = members
        self._sets[number] = _Set(series, self._length)
        self._length = end

    def refuse(self, number: int, refusal: Refusal) -> None:
        """Adds a set whose records are to be rejected."""
        self._sets[number] = _Set(np.zeros(0, np.uint32), refusal=refusal)

    def refusal(self, number: int) -> Refusal | None:
        """Why set ``number`` is refused, if it is known and so."""
        known = self._sets.get(number)
        return known.refusal if known is not None else None

    def length(self, number: int) -> int:
        """How many series set ``number`` has; 0 where it is refused or not known."""
        known = self._sets.get(number)
        return len(known.series) if known is not None else 0

    def series(self, number: int, index: int) -> int:
        """The series at place ``index`` of set ``number``, which is known."""
        return int(self._sets[number].series[index])

    def members(
        self, numbers: NDArray[np.uint32], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The place, tag and refusal of every series of each set, one set after the other.

        ``counts[i]`` is how many series set ``numbers[i]`` has. All are known, none is refused.
        """
        used, which = np.unique(numbers, return_inverse=True)
        first = np.array([self._sets[number].first for number in used.tolist()], np.intp)
        at = ranges(first[which.reshape(-1)], counts)
        place, tag, reason = self._members
        return place[at], tag[at], reason[at]
