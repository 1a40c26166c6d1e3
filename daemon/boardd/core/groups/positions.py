"""How far each rank is with each tag, and how far all of them are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.keys import MAX, NO_NTH, NO_STEP, Key, at_or_below, grown, numbered

#: Of an odd factor, so that ranks in rising order are spread over all rows.
_SCATTER = 0x9E3779B1


class Positions:
    """The last key of each rank and tag in one attempt; ranks that logged something only.

    The *floor* of a tag is the key up to which all ranks are done that are awaited. It is
    computed anew only if the rank moved that held it down.
    """

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._step: NDArray[Any] = np.full((0, 16), NO_STEP, np.int64)
        self._nth: NDArray[Any] = np.full((0, 16), NO_NTH, np.int64)
        #: The highest step of any tag, by row.
        self._top = np.full(0, NO_STEP, np.int64)
        self._awaited = np.zeros(0, np.intp)
        self._floor: NDArray[Any] = np.full((2, 0), NO_STEP, np.int64)
        #: The row that holds a tag's floor down, -1: the floor is to be computed.
        self._blocker: NDArray[Any] = np.full(0, -1, np.intp)

    def clear(self) -> None:
        """Forgets all ranks."""
        self._rows.clear()
        self._step, self._nth, self._top = self._step[:0], self._nth[:0], self._top[:0]
        self._awaited = self._awaited[:0]
        self._blocker[:] = -1

    def __contains__(self, rank: int) -> bool:
        return rank in self._rows

    @property
    def ranks(self) -> Collection[int]:
        """Those that logged something."""
        return self._rows.keys()

    def top(self, rank: int) -> int:
        """Returns the highest step that a rank logged, ``NO_STEP`` if it logged nothing."""
        row = self._rows.get(rank)
        return NO_STEP if row is None else int(self._top[row])

    def advance(
        self, rank: int, tag: NDArray[np.intp], step: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Takes n contributions of a rank in call order.

        Returns the nth of each key, -1 for those whose step is below an earlier one of
        their tag: the rank was done with it.
        """
        self.grow_tags(int(tag.max()) + 1)
        row = self._row(rank)
        self._blocker[self._blocker == row] = -1
        self._top[row] = max(int(self._top[row]), int(step.max()))
        if len(tag) == 1 or ((step[1:] == step[:-1]).all() and (tag[1:] > tag[:-1]).all()):
            steps, nths = self._step[row], self._nth[row]
            last = steps[tag]
            nth: NDArray[np.int64] = (nths[tag] + 1) * (last == step)
            done = nth
            if (last > step).any():
                nth[last > step] = -1
                kept = nth >= 0
                tag, step, done = tag[kept], step[kept], nth[kept]
            steps[tag], nths[tag] = step, done
            return nth
        return self._advance_any(row, tag, step)

    def advance_one(self, rank: int, tag: int, step: int) -> int:
        """As ``advance``, of one contribution."""
        self.grow_tags(tag + 1)
        row = self._row(rank)
        self._blocker[self._blocker == row] = -1
        self._top[row] = max(int(self._top[row]), step)
        last = int(self._step[row, tag])
        if step < last:
            return -1
        nth = int(self._nth[row, tag]) + 1 if step == last else 0
        self._step[row, tag], self._nth[row, tag] = step, nth
        return nth

    def advance_together(self, rank: NDArray[np.intp], tag: NDArray[np.intp], step: int) -> bool:
        """As ``advance``, of n contributions of ranks that logged before, to as many tags.

        No two are of one rank and one tag. Returns whether the nth of all is 0; if not, nothing
        is changed.
        """
        self.grow_tags(int(tag.max()) + 1)
        ranks, place = numbered(rank)
        rows = np.array([self._rows[one] for one in ranks.tolist()], np.intp)
        row = rows[place]
        if (self._step[row, tag] >= step).any():
            return False
        self._step[row, tag], self._nth[row, tag] = step, 0
        self._top[rows] = np.maximum(self._top[rows], step)
        is_moved = np.zeros(len(self._rows) + 1, bool)
        is_moved[rows] = True
        self._blocker[is_moved[self._blocker]] = -1
        return True

    def grow_tags(self, tags: int) -> None:
        """Makes room for a number of tags."""
        self._step = grown(self._step, tags, NO_STEP)
        self._nth = grown(self._nth, tags, NO_NTH)
        self._floor = grown(self._floor, tags, NO_STEP)
        self._blocker = grown(self._blocker, tags, -1)

    def wait_for(self, ranks: Collection[int]) -> None:
        """Says which ranks are awaited; those that logged nothing are passed over."""
        rows = [self._rows[rank] for rank in ranks if rank in self._rows]
        rows.sort(key=lambda row: row * _SCATTER & 0xFFFFFFFF)
        self._awaited = np.array(rows, np.intp)
        self._blocker[:] = -1

    def floor(self, tags: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns step and nth, each int64[tags], up to which each tag is done."""
        self.grow_tags(tags)
        stale = np.flatnonzero(self._blocker[:tags] < 0)
        if len(stale) and not len(self._awaited):
            self._floor[:, stale] = MAX
        elif len(stale):
            at = np.ix_(self._awaited, stale)
            step, nth = self._step[at], self._nth[at]
            # Where a rank never logged the tag, it may until it is past the step.
            is_new = nth < 0
            if is_new.any():
                step = np.where(is_new, self._top[self._awaited, None] - 1, step)
                nth[is_new] = MAX
            lowest = step.min(axis=0)
            nth[step != lowest] = MAX
            row = nth.argmin(axis=0)
            # All of them may have MAX, and argmin takes the first: take one that is lowest.
            wrong = np.flatnonzero(step[row, np.arange(len(stale))] != lowest)
            row[wrong] = step[:, wrong].argmin(axis=0)
            self._floor[0, stale], self._floor[1, stale] = lowest, nth[row, np.arange(len(stale))]
            self._blocker[stale] = self._awaited[row]
        return self._floor[0, :tags], self._floor[1, :tags]

    def reaches(self, rank: int, step: int) -> bool:
        """Returns whether a rank logged anything at or past ``step``."""
        return self.top(rank) >= step

    def state(self, tags: int) -> dict[str, NDArray[Any]]:
        """What ``restore`` takes, of the first ``tags`` tags."""
        self.grow_tags(tags)
        return {
            "position_rank": np.array(list(self._rows), np.int64),
            "position_step": self._step[:, :tags].copy(),
            "position_nth": self._nth[:, :tags].copy(),
            "position_top": self._top.copy(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes what ``state`` returned."""
        ranks = arrays["position_rank"].tolist()
        self._rows = {rank: row for row, rank in enumerate(ranks)}
        self._step = arrays["position_step"].copy()
        self._nth = arrays["position_nth"].copy()
        self._top = arrays["position_top"].copy()
        self.grow_tags(16)

    def _row(self, rank: int) -> int:
        row = self._rows.get(rank)
        if row is None:
            row = self._rows[rank] = len(self._rows)
            width = self._step.shape[1]
            self._step = np.concatenate([self._step, np.full((1, width), NO_STEP, np.int64)])
            self._nth = np.concatenate([self._nth, np.full((1, width), NO_NTH, np.int64)])
            self._top = np.append(self._top, NO_STEP)
        return row

    def _advance_any(
        self, row: int, tag: NDArray[np.intp], step: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        order = np.argsort(tag, kind="stable")
        tags, steps = tag[order], step[order]
        is_first = np.empty(len(tags), bool)
        is_first[0] = True
        np.not_equal(tags[1:], tags[:-1], out=is_first[1:])
        before = np.empty_like(steps)
        before[1:] = steps[:-1]
        before[is_first] = self._step[row, tags[is_first]]
        if (steps < before).any():
            return self._advance_each(row, tag, step)
        is_same = steps == before
        begins = np.flatnonzero(is_first | ~is_same)
        lengths = np.diff(np.append(begins, len(tags)))
        offset = np.where(is_same[begins], self._nth[row, tags[begins]] + 1, 0)
        sorted_nth = np.arange(len(tags)) - np.repeat(begins - offset, lengths)
        ends = np.append(np.flatnonzero(is_first)[1:] - 1, len(tags) - 1)
        self._step[row, tags[ends]] = steps[ends]
        self._nth[row, tags[ends]] = sorted_nth[ends]
        nth = np.empty(len(tags), np.int64)
        nth[order] = sorted_nth
        return nth

    def _advance_each(
        self, row: int, tag: NDArray[np.intp], step: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """As ``_advance_any``, if steps go backwards."""
        known: dict[int, Key] = {}
        nths = []
        for index, at in zip(tag.tolist(), step.tolist(), strict=True):
            last = known.get(index)
            if last is None:
                last = int(self._step[row, index]), int(self._nth[row, index])
            if at < last[0]:
                nths.append(-1)
                continue
            nths.append(last[1] + 1 if at == last[0] else 0)
            known[index] = at, nths[-1]
        for index, key in known.items():
            self._step[row, index], self._nth[row, index] = key
        return np.array(nths, np.int64)


class Frontiers:
    """The key of each tag's last point."""

    def __init__(self) -> None:
        self._step: NDArray[Any] = np.full(16, NO_STEP, np.int64)
        self._nth: NDArray[Any] = np.full(16, NO_NTH, np.int64)

    def grow_tags(self, tags: int) -> None:
        """Makes room for a number of tags."""
        self._step, self._nth = grown(self._step, tags, NO_STEP), grown(self._nth, tags, NO_NTH)

    def key(self, tag: int) -> Key | None:
        """Returns the frontier of one tag, None if it has no point."""
        if tag >= len(self._step) or self._nth[tag] < 0:
            return None
        return int(self._step[tag]), int(self._nth[tag])

    def step(self, tag: NDArray[np.intp]) -> NDArray[np.int64]:
        """Returns the step of each tag's frontier, ``NO_STEP`` if it has none."""
        steps: NDArray[np.int64] = self._step[tag]
        return steps

    def covers(
        self, tag: NDArray[np.intp], step: NDArray[np.int64], nth: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Returns which keys of n contributions are at or below the frontiers of their tags."""
        return at_or_below(step, nth, self._step[tag], self._nth[tag])

    def covers_one(self, tag: int, key: Key) -> bool:
        """As ``covers``, of one contribution."""
        return key <= (int(self._step[tag]), int(self._nth[tag]))

    def move(self, tag: NDArray[np.intp], step: NDArray[np.int64], nth: NDArray[np.int64]) -> None:
        """Takes m points; the keys of a tag rise."""
        self._step[tag], self._nth[tag] = step, nth

    def rewind(self, step: int) -> None:
        """Sets them back below ``step``."""
        past = self._step >= step
        if step == NO_STEP:
            self._step[past], self._nth[past] = NO_STEP, NO_NTH
        else:
            self._step[past], self._nth[past] = step - 1, MAX

    def state(self, tags: int) -> dict[str, NDArray[Any]]:
        """What ``restore`` takes, of the first ``tags`` tags."""
        self.grow_tags(tags)
        return {
            "frontier_step": self._step[:tags].copy(),
            "frontier_nth": self._nth[:tags].copy(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes what ``state`` returned."""
        self._step = arrays["frontier_step"].copy()
        self._nth = arrays["frontier_nth"].copy()
        self.grow_tags(16)
