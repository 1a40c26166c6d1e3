"""How a group's ranks are: scalars at each step, and a table of ranks for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.attempts import Attempts
from boardd.core.groups.keys import NO_STEP
from boardd.core.groups.points import HEALTH_TAGS, HealthPoints, ScalarPoints
from boardd.core.groups.positions import Positions
from boardd.core.groups.windows import OpenSummary

#: Between two tables of ranks.
TABLE_SECS: Final = 60.0


@dataclass(eq=False)
class Rank:
    """What is counted of one rank."""

    late: int = 0
    came_last: int = 0
    lowest: int = 0
    highest: int = 0


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Which ranks made each of m points, and when: how many, the last, and their wall times.

    A point that is not known has a count of 0.
    """

    count: NDArray[np.int64]
    last_rank: NDArray[np.int64]
    first_wall_time: NDArray[np.float64]
    wall_time: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        points: int,
        scalars: ScalarPoints | None,
        places: NDArray[np.intp],
        summaries: Mapping[int, OpenSummary],
    ) -> Arrivals:
        """Those of ``points`` points: scalars, at ``places`` among them, and summaries."""
        found = cls(
            np.zeros(points, np.int64),
            np.zeros(points, np.int64),
            np.zeros(points),
            np.zeros(points),
        )
        if scalars is not None:
            wall_time, present = scalars.wall_time, scalars.present
            late = np.where(present, wall_time, -np.inf)
            found.count[places] = present.sum(axis=0)
            found.last_rank[places] = scalars.rank[late.argmax(axis=0)]
            found.wall_time[places] = late.max(axis=0)
            found.first_wall_time[places] = np.where(present, wall_time, np.inf).min(axis=0)
        for place, summary in summaries.items():
            found.count[place] = summary.count
            found.last_rank[place] = summary.rank
            found.wall_time[place] = summary.wall_time
            found.first_wall_time[place] = summary.first_wall_time
        return found


class Health:
    """What is counted of all ranks."""

    def __init__(self) -> None:
        self.ranks: dict[int, Rank] = {}
        #: The highest step of all points, and their latest wall time.
        self.highest = NO_STEP
        self.wall_time = 0.0
        #: When the table was told, None: never; and whether anything has changed since.
        self.told_at: float | None = None
        self.has_changed = False

    def count_late(self, rank: int, contributions: int) -> None:
        """Counts contributions that came too late."""
        self._rank(rank).late += contributions

    def came_last(self, rank: int) -> int:
        """Returns how often a rank came last."""
        counted = self.ranks.get(rank)
        return 0 if counted is None else counted.came_last

    def new_steps(self, step: NDArray[np.int64]) -> NDArray[np.intp]:
        """Returns the first of m points at each step that is higher than any before, by step."""
        if not (step > self.highest).any():
            return np.zeros(0, np.intp)
        if (step == step[0]).all():
            return np.zeros(1, np.intp)
        steps, first = np.unique(step, return_index=True)
        new: NDArray[np.intp] = first[steps > self.highest]
        return new

    def close(
        self,
        sequence: int,
        step: NDArray[np.int64],
        arrivals: Arrivals,
        attempts: Attempts,
        positions: Positions,
    ) -> HealthPoints | None:
        """Takes m points that are done; ``sequence`` is the first of the health's own."""
        self.has_changed = True
        first = self.new_steps(step)
        if not len(first):
            return None
        self.highest = int(step[first[-1]])
        known = arrivals.count[first] > 0
        first, sequences = first[known], sequence + len(HEALTH_TAGS) * np.flatnonzero(known)
        if not len(first):
            return None
        count = arrivals.count[first]
        for rank in arrivals.last_rank[first[count > 1]].tolist():
            self._rank(rank).came_last += 1
        wall_time = arrivals.wall_time[first]
        self.wall_time = max(self.wall_time, float(wall_time.max()))
        value = np.empty((len(HEALTH_TAGS), len(first)))
        value[0] = count
        value[1] = _step_lag(attempts, positions)
        value[2] = sum(rank.late for rank in self.ranks.values())
        value[3] = wall_time - arrivals.first_wall_time[first]
        return HealthPoints(sequences, step[first], wall_time, value)

    def count_extremes(self, points: ScalarPoints) -> None:
        """Counts whose contribution is the lowest and the highest of each point."""
        shared = points.present.sum(axis=0) > 1
        if not shared.any():
            return
        valid = points.present & ~np.isnan(points.value) & shared
        some = valid.any(axis=0)
        lowest = np.where(valid, points.value, np.inf).argmin(axis=0)[some]
        highest = np.where(valid, points.value, -np.inf).argmax(axis=0)[some]
        ranks = points.rank.tolist()
        counts = (np.bincount(row, minlength=len(ranks)) for row in (lowest, highest))
        for rank, low, high in zip(ranks, *(count.tolist() for count in counts), strict=True):
            if low or high:
                counted = self._rank(rank)
                counted.lowest += low
                counted.highest += high

    def rewind(self, step: int) -> None:
        """Forgets steps at or past ``step``."""
        if self.highest >= step:
            self.highest = NO_STEP if step == NO_STEP else step - 1

    def table_due_at(self) -> float | None:
        """Returns when the table is due, None if it says nothing new."""
        if not self.has_changed or self.highest == NO_STEP:
            return None
        return -np.inf if self.told_at is None else self.told_at + TABLE_SECS

    def tell(self, now: float) -> None:
        """Notes that the table is told."""
        self.told_at, self.has_changed = now, False

    def table(self, attempts: Attempts, positions: Positions) -> str:
        """Returns the ranks that have joined, as a Markdown table."""
        lines = [
            "| rank | host | process | last step | late | came last | lowest | highest | |",
            "|--:|---|--:|--:|--:|--:|--:|--:|---|",
        ]
        live = attempts.live_ranks()
        processes = {one.joined.rank: one.joined for one in attempts if not one.is_old}
        for rank, joined in sorted(processes.items()):
            counted = self.ranks.get(rank, Rank())
            top = positions.top(rank)
            cells: Iterable[object] = (
                *(rank, _escaped(joined.hostname), joined.pid, "" if top == NO_STEP else top),
                *(counted.late, counted.came_last, counted.lowest, counted.highest),
                "" if rank in live else "left",
            )
            lines.append("".join(f"| {cell} " for cell in cells) + "|")
        missing = attempts.world_size - len(processes)
        if missing > 0:
            lines += ["", f"{missing} of {attempts.world_size} ranks have not logged anything."]
        return "\n".join(lines)

    def state(self) -> dict[str, NDArray[Any]]:
        """What ``restore`` takes."""
        rows = [
            (rank, one.late, one.came_last, one.lowest, one.highest)
            for rank, one in sorted(self.ranks.items())
        ]
        return {
            "health_ranks": np.array(rows, np.int64).reshape(-1, 5),
            "health_highest": np.array([self.highest, self.has_changed], np.int64),
            "health_wall_time": np.array([self.wall_time]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], now: float) -> None:
        """Takes what ``state`` returned; the table counts as told."""
        self.ranks = {rank: Rank(*counts) for rank, *counts in arrays["health_ranks"].tolist()}
        self.highest, has_changed = arrays["health_highest"].tolist()
        self.wall_time = float(arrays["health_wall_time"][0])
        self.told_at, self.has_changed = now, bool(has_changed)

    def _rank(self, rank: int) -> Rank:
        return self.ranks.setdefault(rank, Rank())


def _step_lag(attempts: Attempts, positions: Positions) -> int:
    tops = [positions.top(rank) for rank in attempts.live_ranks() if rank in positions]
    return max(tops) - min(tops) if tops else 0


def _escaped(name: str) -> str:
    """A host's name as it stands in a cell of Markdown: others chose it."""
    return "".join(char if char.isalnum() or char in "-._:" else "_" for char in name)
