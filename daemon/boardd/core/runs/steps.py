"""Watches that the steps of a tag do not go backwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LOWEST = np.iinfo(np.int64).min


class StepMonitor:
    """Counts records whose step is below an earlier one of their tag.

    TensorBoard drops the points that such a step overtakes, so the user wants
    to know; the record itself is written all the same.
    """

    def __init__(self) -> None:
        self._highest = np.full(16, _LOWEST, np.int64)
        self._reported: set[int] = set()
        #: The last tags, in an array that never changes, and the step that all of them had:
        #: none of them has a higher one.
        self._last: tuple[NDArray[np.intp], int] | None = None
        self.backwards = 0

    def observe(self, tag_index: NDArray[np.intp], step: NDArray[np.int64]) -> list[int]:
        """Takes n records in call order: the tag and the step of each.

        Returns the tags that went backwards for the first time.
        """
        if not len(tag_index):
            return []
        last, self._last = self._last, None
        first = int(step[0])
        is_one_step = first == step[-1] and bool((step == first).all())
        if is_one_step and not tag_index.flags.writeable:
            if last is None or last[0] is not tag_index:
                self._grow(int(tag_index.max()) + 1)
                highest = int(self._highest[tag_index].max())
            else:
                highest = last[1]
            if first >= highest:
                self._highest[tag_index] = first
                self._last = tag_index, first
                return []
        self._grow(int(tag_index.max()) + 1)
        if (step[1:] >= step[:-1]).all() and (step >= self._highest[tag_index]).all():
            # None goes backwards, of whatever tag. Of those of one tag, the last is kept.
            self._highest[tag_index] = step
            return []
        order = np.argsort(tag_index, kind="stable")
        tags, steps = tag_index[order], step[order]
        first_of_tag = np.empty(len(tags), bool)
        first_of_tag[0] = True
        np.not_equal(tags[1:], tags[:-1], out=first_of_tag[1:])
        before = np.empty_like(steps)
        before[1:] = steps[:-1]
        before[first_of_tag] = self._highest[tags[first_of_tag]]
        if not (steps < before).any():
            last_of_tag = np.append(first_of_tag[1:], True)
            self._highest[tags[last_of_tag]] = steps[last_of_tag]
            return []
        return self._count(tags, steps)

    def observe_one(self, tag: int, step: int) -> bool:
        """Takes one record. Returns whether its tag went backwards for the first time."""
        self._grow(tag + 1)
        if step >= self._highest[tag]:
            self._highest[tag] = step
            self._last = None
            return False
        return self._count_one(tag)

    @property
    def highest(self) -> int | None:
        """The highest step of any tag; None before the first record."""
        highest = int(self._highest.max())
        return None if highest == _LOWEST else highest

    def rewind(self, step: int) -> None:
        """Notes that what was written at ``step`` and later is out of date."""
        np.minimum(self._highest, max(step - 1, _LOWEST), out=self._highest)

    def _count(self, tags: NDArray[np.intp], steps: NDArray[np.int64]) -> list[int]:
        found: list[int] = []
        for tag, step in zip(tags.tolist(), steps.tolist(), strict=True):
            if step >= self._highest[tag]:
                self._highest[tag] = step
                continue
            if self._count_one(tag):
                found.append(tag)
        return found

    def _count_one(self, tag: int) -> bool:
        self.backwards += 1
        is_first = tag not in self._reported
        self._reported.add(tag)
        return is_first

    def _grow(self, length: int) -> None:
        if length > len(self._highest):
            grown = np.full(max(length, 2 * len(self._highest)), _LOWEST, np.int64)
            grown[: len(self._highest)] = self._highest
            self._highest = grown
