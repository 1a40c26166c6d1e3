"""What each point of a group must hold: an oracle of the journal's entries.

It shares no code with the group: it reads all that was ever journaled.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from boardd.core.groups.entries import (
    Attempt,
    Closed,
    Entry,
    Joined,
    Left,
    Rewound,
    Scalars,
    Summary,
    Tag,
    Told,
)
from boardd.core.groups.points import HealthPoints, Point, ScalarPoints, SummaryPoint, TextPoint

TAGS = [
    Tag(b"loss", "scalar", "mean"),
    Tag(b"of some", "scalar", "mean"),
    Tag(b"weights", "histogram", "mean"),
    Tag(b"of one", "scalar", "mean"),
]
Key = tuple[int, int]


@dataclass(frozen=True)
class Values:
    """A partial that knows what it was merged from."""

    values: frozenset[float]

    @property
    def size_bytes(self) -> int:
        return 100 * len(self.values)

    def merge(self, *others: Values) -> Values:
        merged = self.values.union(*(other.values for other in others))
        assert len(merged) == sum(len(one.values) for one in (self, *others)), "merged twice"
        return Values(merged)


class Oracle:
    """What a journal means, read one contribution at a time."""

    def __init__(self) -> None:
        self.emitted: dict[int, Any] = {}
        self.open: dict[tuple[int, Key], dict[int, float]] = {}
        self.late: dict[int, int] = defaultdict(int)
        self.frontier: dict[int, Key] = {}
        self.attempt: Attempt | None = None
        self.world_size = 0
        self.members: dict[bytes, tuple[int, Attempt]] = {}
        self.left: set[bytes] = set()
        self.last: dict[tuple[int, int], Key] = {}
        self.highest: int | None = None
        self.sequence = 1
        self.incomplete = 0

    def apply(self, entry: Entry) -> None:
        if isinstance(entry, Joined):
            self._join(entry)
        elif isinstance(entry, Left):
            self.left.add(entry.session)
        elif isinstance(entry, Scalars):
            columns = zip(
                entry.tag.tolist(), entry.step.tolist(), entry.value.tolist(), strict=True
            )
            for tag, step, value in columns:
                self._take(entry.session, tag, step, value)
        elif isinstance(entry, Summary):
            assert isinstance(entry.partial, Values)
            (value,) = entry.partial.values
            self._take(entry.session, entry.tag, entry.step, value)
        elif isinstance(entry, Rewound):
            for tag, key in list(self.frontier.items()):
                if key[0] >= entry.step:
                    self.frontier[tag] = (entry.step, -1)
            if self.highest is not None:
                self.highest = min(self.highest, entry.step - 1)
        elif isinstance(entry, Closed):
            self._close(entry)
        elif isinstance(entry, Told):
            assert entry.sequence == self.sequence
            self.emitted[entry.sequence] = entry.text
            self.sequence += 1

    def rank_is_done(self, rank: int, tag: int, key: Key) -> bool:
        mine = [
            session
            for session, (owner, attempt) in self.members.items()
            if owner == rank and attempt == self.attempt
        ]
        if mine and all(session in self.left for session in mine):
            return True
        steps = [last[0] for (owner, _), last in self.last.items() if owner == rank]
        if (rank, tag) in self.last:
            return self.last[rank, tag] >= key
        return bool(steps) and max(steps) > key[0]

    def done(self) -> list[tuple[int, Key]]:
        """Open points that no rank is waited for with."""
        return [
            (tag, key)
            for tag, key in self.open
            if all(self.rank_is_done(rank, tag, key) for rank in range(self.world_size))
        ]

    def _join(self, entry: Joined) -> None:
        before = self.attempt
        if before is None or entry.attempt.epoch > before.epoch:
            assert not self.open, "points of an older attempt stay open"
            self.attempt, self.world_size = entry.attempt, entry.world_size
            self.last.clear()
            for session, (rank, attempt) in list(self.members.items()):
                if session in self.left:
                    del self.members[session]
                elif attempt == before and (attempt.launch, attempt.number) == (
                    entry.attempt.launch,
                    entry.attempt.number,
                ):
                    self.members[session] = (rank, entry.attempt)
        self.members[entry.session] = (entry.rank, entry.attempt)
        self.left.discard(entry.session)

    def _take(self, session: bytes, tag: int, step: int, value: float) -> None:
        rank, attempt = self.members[session]
        if attempt != self.attempt:
            self.late[rank] += 1
            return
        last = self.last.get((rank, tag))
        if last is not None and step < last[0]:
            self.late[rank] += 1
            return
        key = (step, last[1] + 1) if last is not None and step == last[0] else (step, 0)
        self.last[rank, tag] = key
        if tag in self.frontier and key <= self.frontier[tag]:
            self.late[rank] += 1
            return
        point = self.open.setdefault((tag, key), {})
        assert rank not in point
        point[rank] = value

    def _close(self, entry: Closed) -> None:
        assert entry.sequence == self.sequence
        highest, steps = self.highest, {}
        for tag, step, nth in zip(
            entry.tag.tolist(), entry.step.tolist(), entry.nth.tolist(), strict=True
        ):
            key = (step, nth)
            assert tag not in self.frontier or self.frontier[tag] < key, "steps go backwards"
            self.frontier[tag] = key
            if not all(self.rank_is_done(rank, tag, key) for rank in range(self.world_size)):
                self.incomplete += 1
            values = self.open.pop((tag, key))
            self.emitted[self.sequence] = (tag, step, nth, frozenset(values.items()))
            self.sequence += 1
            if highest is None or step > highest:
                steps.setdefault(step, len(values))
        for step in sorted(steps):
            for name in ("coverage", "step_lag", "late", "spread"):
                self.emitted[self.sequence] = (name, step, float(steps[step]), self._late())
                self.sequence += 1
            self.highest = step

    def _late(self) -> float:
        return float(sum(self.late.values()))


def emissions(points: list[Point]) -> dict[int, Any]:
    """What points show, by emission sequence, as the oracle says it."""
    found: dict[int, Any] = {}
    for point in points:
        if isinstance(point, ScalarPoints):
            for column, sequence in enumerate(point.sequence.tolist()):
                rows = np.flatnonzero(point.present[:, column])
                values = {int(point.rank[row]): float(point.value[row, column]) for row in rows}
                # Each value was logged at the wall time that is its own number.
                assert all(point.wall_time[row, column] == point.value[row, column] for row in rows)
                found[sequence] = (
                    *(int(column_of[column]) for column_of in (point.tag, point.step, point.nth)),
                    frozenset(values.items()),
                )
        elif isinstance(point, SummaryPoint):
            values_of = point.partial
            assert isinstance(values_of, Values)
            assert point.count == len(values_of.values)
            assert point.wall_time == max(values_of.values)
            owners = frozenset((int(value) % 100, value) for value in values_of.values)
            found[point.sequence] = (point.tag, point.step, point.nth, owners)
        elif isinstance(point, TextPoint):
            found[point.sequence] = point.text
        else:
            assert isinstance(point, HealthPoints)
            for column, sequence in enumerate(point.sequence.tolist()):
                step, late = int(point.step[column]), float(point.value[2, column])
                for row, name in enumerate(("coverage", "step_lag", "late", "spread")):
                    found[sequence + row] = (name, step, float(point.value[0, column]), late)
    return found
