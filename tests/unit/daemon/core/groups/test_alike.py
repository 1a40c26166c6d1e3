"""Contributions that are applied together leave the group that they leave one by one."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from boardd.core.groups.entries import Entry, Scalars, Summary
from boardd.core.groups.points import Point, ScalarPoints, SummaryPoint
from support.group_ranks import Ranks
from support.group_totals import Total

TAGS = tuple(f"tag{number:02}" for number in range(9))


class Job(Ranks):
    """Ranks that log to a copy of their group, too, as far as possible together."""

    def __init__(self, world_size: int) -> None:
        super().__init__(world_size)
        self.tags = np.array([self.tag(tag) for tag in TAGS], np.intp)
        self.curve = self.tag("curve", "histogram")
        self.sessions = [self.join(rank) for rank in range(world_size)]
        self.contribute([self.scalars(rank, 0) for rank in range(world_size)])
        self.other = copy.deepcopy(self.group)
        self.other_points: list[Point] = []
        self.together = 0

    def scalars(self, rank: int, step: int, first: int = 0, end: int = len(TAGS)) -> Scalars:
        tag = self.tags[first:end]
        columns = np.full(len(tag), step), 100.0 + rank + np.arange(len(tag)), tag * 0.1 + rank
        return Scalars(self.sessions[rank], tag, *columns)

    def summary(self, rank: int, step: int) -> Summary:
        return Summary(self.sessions[rank], self.curve, step, 100.0 + rank, Total(rank))

    def contribute(self, entries: list[Entry]) -> None:
        self.apply(*entries)

    def record(self, entries: list[Entry]) -> None:
        self.apply(*entries)
        if self.other.apply_together(entries, self.now):
            self.together += 1
            return
        for entry in entries:
            self.other_points += self.other.apply(entry, self.now)

    def close(self) -> None:
        for entry in self.group.due(self.now):
            self.apply(entry)
        for entry in self.other.due(self.now):
            self.other_points += self.other.apply(entry, self.now)

    def check(self) -> None:
        state, other = self.group.state(), self.other.state()
        assert state.numbers == other.numbers
        for name, array in state.arrays.items():
            assert array.tolist() == other.arrays[name].tolist(), name
        assert self.group.open_points == self.other.open_points
        shown = [told(point) for point in self.points[-len(self.other_points) :]]
        assert not self.other_points or shown == [told(point) for point in self.other_points]


def told(point: Point) -> list[object]:
    if isinstance(point, ScalarPoints):
        columns = (point.sequence, point.step, point.tag, point.rank, point.present)
        return [*(column.tolist() for column in columns), point.value[point.present].tolist()]
    if isinstance(point, SummaryPoint):
        return [point.sequence, point.step, point.count, point.wall_time, point.partial]
    return [type(point).__name__]


@pytest.mark.parametrize("seed", range(20))
def test_ranks_in_any_order_leave_the_same_group(seed: int) -> None:
    chance = random.Random(seed)
    job = Job(4)
    for step in range(1, 60):
        entries: list[Entry] = []
        differs = chance.random() < 0.5
        for rank in chance.sample(range(4), chance.randint(2, 4)):
            own = max(0, step + chance.choice([0, 0, 0, 1, -1])) if differs else step
            first, end = 0, len(TAGS)
            if differs and chance.random() < 0.2:
                first, end = sorted(chance.sample(range(len(TAGS) + 1), 2))
            entries.append(job.scalars(rank, own, first, end))
            entries += [job.summary(rank, own)] * chance.choice([0, 1, 2] if differs else [0, 1])
        job.record(entries)
        if chance.random() < 0.5:
            job.close()
        job.check()
    assert 0 < job.together < 59


def test_ranks_that_step_together_are_taken_together() -> None:
    job = Job(3)
    for step in range(1, 4):
        job.record([job.scalars(rank, step) for rank in range(3)])
        job.record([job.summary(rank, step) for rank in range(3)])
        job.close()
    job.check()
    assert job.together == 6


@pytest.mark.parametrize(
    "case", ["late", "another step", "twice", "tags that differ", "unknown rank", "left behind"]
)
def test_what_differs_is_taken_one_by_one(case: str) -> None:
    job = Job(3)
    entries: list[Entry] = [job.scalars(rank, 1) for rank in range(3)]
    if case == "late":
        job.record(entries)
        job.close()
        job.together = 0
    elif case == "another step":
        entries[1] = job.scalars(1, 2)
    elif case == "twice":
        entries.append(job.scalars(2, 1))
    elif case == "tags that differ":
        entries[1] = job.scalars(1, 1, 3)
    elif case == "unknown rank":
        job.world_size = 4
        session = job.join(3)
        job.other.apply(job.entries[-1], job.now)
        job.sessions.append(session)
        entries.append(job.scalars(3, 1))
    else:
        entries.append(job.summary(0, 0))
    job.record(entries)
    job.check()
    assert not job.together
