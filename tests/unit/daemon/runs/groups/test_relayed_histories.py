"""Histories of two hosts and an aggregator that die at any moment, with real journals."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Attempt
from boardd.core.session.batch import DropPart, PurgePart
from boardd.runs.groups.group_points import DropRow, Output, RewindRow, ScalarRows
from boardd.runs.journal.journal import Journal
from boardd.runs.writing.group_work import Work
from support.relayed_life import TAGS, AggregatorLife, HostLife, member, value

HOSTS, RANKS = 2, 4
STEPS = 60
#: In the order in which the runs of a host know them.
TAGS_OF = (TAGS, TAGS[::-1])


@dataclass
class Host:
    """One host: what its ranks have logged, and what it knows of the aggregator."""

    root: Path
    ranks: list[int]
    life: HostLife
    tags: Sequence[str]
    logged: dict[int, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    dropped: int = 0
    position: int = 0


class Shown:
    """What event files hold: each emission once, whoever shows it again."""

    def __init__(self) -> None:
        self.points: dict[str, dict[int, tuple[str, int, float]]] = {}
        #: What was lost, by source.
        self.dropped: dict[bytes, int] = {}

    def add(self, life: AggregatorLife) -> None:
        for row in life.rows():
            if isinstance(row, DropRow):
                source, before = row.dropped.source, self.dropped.get(row.dropped.source, 0)
                self.dropped[source] = max(before, row.dropped.total)
            if not isinstance(row, ScalarRows):
                continue
            name = row.output.sub_run if isinstance(row.output, Output) else row.output
            known = self.points.setdefault(name, {})
            columns = row.columns
            for index, sequence in enumerate(columns.sequence.tolist()):
                tag = life.recorder.replica.tag_names[row.tag[index]].decode()
                point = (tag, int(columns.step[index]), float(columns.value[index]))
                assert known.setdefault(sequence, point) == point, "shown again as another"

    def of(self, name: str) -> list[tuple[str, int, float]]:
        """In the order of their emission."""
        return [point for _, point in sorted(self.points[name].items()) if point[0] in TAGS]


def session_of(rank: int) -> bytes:
    return bytes([rank + 1]) * 16


class History:
    """All ends, and what may happen to them."""

    def __init__(self, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.root = root
        self.shown = Shown()
        self.aggregator = AggregatorLife(root / "aggregator")
        per_host = RANKS // HOSTS
        self.hosts = [
            Host(
                root / f"host{number}",
                list(range(number * per_host, (number + 1) * per_host)),
                HostLife(root / f"host{number}", TAGS_OF[number]),
                TAGS_OF[number],
            )
            for number in range(HOSTS)
        ]

    def play(self) -> None:
        actions = [self.log] * 6 + [self.forward] * 6
        actions += [self.forward_unanswered, self.kill_host, self.kill_aggregator, self.release]
        actions.append(self.drop)
        while not self.is_done():
            self.chance.choice(actions)()
        self.aggregator.die()
        for host in self.hosts:
            host.life.die()

    def is_done(self) -> bool:
        return all(
            len(host.left) == len(host.ranks) and host.position >= host.life.recorder.entries - 1
            for host in self.hosts
        )

    def log(self) -> None:
        host = self.chance.choice(self.hosts)
        rank = self.chance.choice(host.ranks)
        done = host.logged.get(rank, 0)
        if done == STEPS:
            if rank not in host.left:
                host.life.leave(member(session_of(rank), rank, RANKS))
                host.left.add(rank)
            return
        # Of what was acknowledged, some may be sent again.
        first = max(0, done - self.chance.randrange(3))
        end = min(STEPS, done + self.chance.randrange(1, 6))
        asked = member(session_of(rank), rank, RANKS)
        steps = np.arange(first, end)
        host.life.log(asked, session_of(rank), first * len(TAGS) + 1, steps)
        host.logged[rank] = end

    def drop(self) -> None:
        host = self.chance.choice(self.hosts)
        rank = host.ranks[0]
        if rank in host.left:
            return
        host.dropped += 1
        records = {"log_full": host.dropped}
        part = DropPart(session_of(rank), host.life.run, None, 0, 0, 0, records, 1, 1.0)
        host.life.record([Work(member(session_of(rank), rank, RANKS), part)])

    def forward(self, *, is_answered: bool = True) -> None:
        host = self.chance.choice(self.hosts)
        batch = host.life.next_batch(host.position, self.chance.choice([1, 300, 3000]))
        if batch is None:
            return
        position = self.aggregator.take(batch)
        self.shown.add(self.aggregator)
        if is_answered:
            assert position >= batch.end
            host.position = position
        else:
            host.life.read_anew()

    def forward_unanswered(self) -> None:
        self.forward(is_answered=False)

    def kill_host(self) -> None:
        host = self.chance.choice(self.hosts)
        host.life.die()
        host.life, host.position = HostLife(host.root, host.tags), 0

    def kill_aggregator(self) -> None:
        self.aggregator.die()
        self.aggregator = AggregatorLife(self.root / "aggregator")
        self.shown.add(self.aggregator)

    def release(self) -> None:
        host = self.chance.choice(self.hosts)
        host.life.recorder.remove(host.life.recorder.passed(host.position))
        host.life.read_anew()


@pytest.mark.parametrize("seed", range(12))
def test_every_contribution_counts_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "segment_bytes", 2000)
    history = History(tmp_path, seed)
    history.play()
    for rank in range(RANKS):
        expected = [
            (tag, step, value(rank, tag, step))
            for step in range(STEPS)
            for tag in TAGS_OF[rank * HOSTS // RANKS]
        ]
        assert history.shown.of(f"rank_{rank}") == expected
    assert sum(history.shown.dropped.values()) == sum(host.dropped for host in history.hosts)
    assert len(history.shown.dropped) == sum(host.dropped > 0 for host in history.hosts)
    merged = history.shown.of("")
    assert len(merged) == STEPS * len(TAGS)
    for tag in TAGS:
        found = [(step, shown) for one, step, shown in merged if one == tag]
        assert found == [
            (step, math.fsum(value(rank, tag, step) for rank in range(RANKS)) / RANKS)
            for step in range(STEPS)
        ]


def test_the_first_segments_of_a_host_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "segment_bytes", 2000)
    history = History(tmp_path, 1)
    history.play()
    for host in history.hosts:
        names = sorted(path.name for path in (host.root / "run" / ".boardd-group").iterdir())
        assert names[0] > "journal.boardd.0000000001"


def test_a_session_that_left_and_came_back_goes_on(tmp_path: Path) -> None:
    host, aggregator = HostLife(tmp_path / "host"), AggregatorLife(tmp_path / "aggregator")
    shown, position = Shown(), 0
    asked = member(session_of(0), 0, RANKS)
    for round_ in range(3):
        first = 2 * round_
        host.log(asked, session_of(0), first * len(TAGS) + 1, np.array([first]))
        host.leave(asked)
        host.log(asked, session_of(0), (first + 1) * len(TAGS) + 1, np.array([first + 1]))
        batch = host.next_batch(position, 1 << 20)
        assert batch is not None
        position = aggregator.take(batch)
        shown.add(aggregator)
    assert shown.of("rank_0") == [
        (tag, step, value(0, tag, step)) for step in range(6) for tag in TAGS
    ]
    host.die()
    aggregator.die()


def test_each_rank_that_resumes_rewinds_its_series_and_all_the_group_once(tmp_path: Path) -> None:
    host, aggregator = HostLife(tmp_path / "host"), AggregatorLife(tmp_path / "aggregator")
    for rank in (0, 1):
        asked = member(session_of(rank), rank, 2)
        host.log(asked, session_of(rank), 1, np.arange(6))
        host.leave(asked)
    for rank in (0, 1):
        resumed = member(session_of(rank + 2), rank, 2, attempt=Attempt(2, "launch", 1))
        part = PurgePart(session_of(rank + 2), host.run, None, 0, 0, 0, 1, 4)
        host.record([Work(resumed, part)])
        host.log(resumed, session_of(rank + 2), 1, np.array([4, 5]))
    batch = host.next_batch(0, 1 << 20)
    assert batch is not None
    aggregator.take(batch)
    rows = [row for row in aggregator.rows() if isinstance(row, RewindRow)]
    assert [(row.step, row.series, row.is_merged) for row in rows] == [
        (4, "rank_0", True),
        (4, "rank_1", False),
    ]
    host.die()
    aggregator.die()
