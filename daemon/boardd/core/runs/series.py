"""The series of one session: from a client's number to a run and a tag."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Series that are kept as Python objects.
_MAX_KEPT: Final = 4096


class Series(NamedTuple):
    """One series. ``run`` and ``tag`` are places in the tables of their owners."""

    run: int
    tag: int
    #: A ``Reason``, or 0 if the series is good.
    refusal: int


_Found = tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


class SeriesTable:
    """Series looked up for whole columns at once.

    The client chooses the numbers, so they may be sparse; a sorted array and a
    binary search take any.
    """

    def __init__(self) -> None:
        self._added: dict[int, Series] = {}
        self._number = np.zeros(0, np.uint32)
        self._columns = np.zeros((3, 0), np.intp)
        #: What ``find`` was asked for last, and what it returned: steps are much alike.
        self._found_last: tuple[NDArray[np.uint32], _Found] | None = None
        #: Of ``find_one``; a series never changes.
        self._kept: dict[int, Series] = {}

    def add(self, number: int, series: Series) -> None:
        """Adds a series whose number is not in the table yet."""
        self._added[number] = series
        self._found_last = None
        if len(self._added) >= _MAX_KEPT:  # so that no look-up has to sort much
            self._merge()

    def remove(self, numbers: Collection[int]) -> None:
        """Forgets series."""
        self._merge()
        self._found_last = None
        kept = ~np.isin(self._number, np.array(list(numbers), np.uint32))
        self._number, self._columns = self._number[kept], self._columns[:, kept]
        for number in numbers:
            self._kept.pop(number, None)

    def find(self, numbers: NDArray[np.uint32]) -> _Found:
        """Returns which of ``numbers`` are known, and their run, tag and refusal.

        All of shape ``[n]`` and read-only; the last three hold 0 for a number that is not known.
        They are the same objects when it is called for the same numbers again.
        """
        if self._found_last is not None:
            last, found = self._found_last
            if len(last) == len(numbers) and bool((last == numbers).all()):
                return found
        found = self._look_up(numbers)
        for column in found:
            column.flags.writeable = False
        self._found_last = numbers.copy(), found
        return found

    def _look_up(self, numbers: NDArray[np.uint32]) -> _Found:
        self._merge()
        if not len(self._number):
            nothing = np.zeros(len(numbers), np.intp)
            return np.zeros(len(numbers), bool), nothing, nothing, nothing
        place = np.searchsorted(self._number, numbers)
        np.minimum(place, len(self._number) - 1, out=place)
        known = self._number[place] == numbers
        columns = self._columns[:, place]
        if not known.all():
            columns[:, ~known] = 0
        return known, columns[0], columns[1], columns[2]

    def find_one(self, number: int) -> Series | None:
        """Returns the series of ``number``, None if it is not known."""
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        (is_known,), *columns = self._look_up(np.array([number], np.uint32))
        if not is_known:
            return None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        series = self._kept[number] = Series(*(int(column[0]) for column in columns))
        return series

    def _merge(self) -> None:
        if not self._added:
            return
        number = np.append(self._number, np.array(list(self._added), np.uint32))
        added = [np.array(column, np.intp) for column in zip(*self._added.values(), strict=True)]
        columns = np.concatenate([self._columns, added], axis=1)
        order = np.argsort(number, kind="stable")
        self._number, self._columns = number[order], columns[:, order]
        self._added.clear()
