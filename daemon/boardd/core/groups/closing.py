"""Which open points are done, and when more will be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np

from boardd.core.groups.attempts import Attempts
from boardd.core.groups.entries import Closed
from boardd.core.groups.health import Health
from boardd.core.groups.keys import MAX, Key
from boardd.core.groups.limits import GroupLimits
from boardd.core.groups.points import HEALTH_TAGS
from boardd.core.groups.positions import Positions
from boardd.core.groups.tags import TagTable
from boardd.core.groups.windows import Windows

#: Points of one entry at most.
MAX_POINTS: Final = 4096


class Closing:
    """Decides which points are done; changes nothing but what it remembers of ranks."""

    def __init__(self, limits: GroupLimits, attempts: Attempts, windows: Windows) -> None:
        self._limits = limits
        self._attempts, self._windows = attempts, windows
        #: Ranks that have neither logged anything nor left.
        self._silent = 0
        #: Tags that may have more open keys than they should.
        self._long: set[int] = set()

    def count_ranks(self, positions: Positions) -> None:
        """Takes which ranks there are, after a session joined or left or a rank began to log."""
        positions.wait_for(self._attempts.live_ranks())
        settled = self._attempts.left_ranks().union(positions.ranks)
        self._silent = self._attempts.world_size - len(settled)

    def opened(self, tag: int) -> None:
        """Notes that a tag has one open key more."""
        if len(self._windows.keys(tag)) > self._limits.lag_points + 1:
            self._long.add(tag)

    def awaits_ranks(self, now: float) -> bool:
        """Returns whether ranks are waited for that may begin to log."""
        return self._silent > 0 and now < self._attempts.began_at + self._limits.join_secs

    def due(
        self,
        tags: TagTable,
        positions: Positions,
        health: Health,
        sequence: int,
        now: float,
        *,
        drain: bool,
    ) -> list[Closed]:
        """Returns the points that are done, with emission sequences from ``sequence``."""
        bounds = self._bounds(tags, positions, now, drain)
        if not bounds:
            return []
        scalars: list[tuple[int, int, int]] = []
        summaries: list[tuple[int, int, int]] = []
        for tag, bound in bounds.items():
            found = scalars if tags.is_scalar(tag) else summaries
            for key in self._windows.keys(tag):
                if key > bound:
                    break
                found.append((*key, tag))
        scalars.sort()
        summaries.sort()
        return list(self._entries(scalars + summaries, health, sequence))

    def next_due(self, now: float) -> float | None:
        """Returns when time alone makes points due, or ends the wait for ranks; None: never."""
        times = [
            opened_at + self._limits.lag_secs
            for _, opened_at, *_ in islice(self._windows.oldest(), 1)
        ]
        if self.awaits_ranks(now):
            times.append(self._attempts.began_at + self._limits.join_secs)
        return min(times, default=None)

    def _bounds(
        self, tags: TagTable, positions: Positions, now: float, drain: bool
    ) -> dict[int, Key]:
        """The key up to which each tag is closed, for those of which any is."""
        windows, limits = self._windows, self._limits
        if drain:
            return dict.fromkeys(windows.tags(), (MAX, MAX))
        bounds: dict[int, Key] = {}
        if windows and not self.awaits_ranks(now):
            step, nth = positions.floor(len(tags))
            done = windows.at_or_below(step, nth)
            keys = zip(step[done].tolist(), nth[done].tolist(), strict=True)
            bounds.update(zip(done.tolist(), keys, strict=True))
        self._long = set(windows.with_more_than(limits.lag_points + 1, self._long))
        for tag in self._long:
            keys_of_tag = windows.keys(tag)
            last = len(keys_of_tag) - limits.lag_points - 2
            _raise_to(bounds, tag, next(islice(keys_of_tag, last, None)))
        open_bytes = windows.open_bytes
        for key, opened_at, size_bytes, open_tags in windows.oldest():
            if open_bytes <= limits.max_open_bytes and now < opened_at + limits.lag_secs:
                break
            open_bytes -= size_bytes
            for tag in open_tags:
                _raise_to(bounds, tag, key)
        return bounds

    def _entries(
        self, points: list[tuple[int, int, int]], health: Health, sequence: int
    ) -> Iterator[Closed]:
        highest = health.highest
        for begin in range(0, len(points), MAX_POINTS):
            columns = np.array(points[begin : begin + MAX_POINTS], np.int64).T.copy()
            entry = Closed(sequence, columns[0], columns[1], columns[2].astype(np.intp))
            yield entry
            steps = np.unique(entry.step)
            sequence += len(entry.step) + len(HEALTH_TAGS) * int((steps > highest).sum())
            highest = max(highest, int(steps[-1]))


def _raise_to(bounds: dict[int, Key], tag: int, key: Key) -> None:
    if tag not in bounds or bounds[tag] < key:
        bounds[tag] = key
