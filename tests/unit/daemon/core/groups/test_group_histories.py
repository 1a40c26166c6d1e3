"""Random histories of groups whose daemon dies between any two entries of its journal.

Ranks log at their own pace, some tags on some ranks only, some steps twice; they die, come
too late, and are launched again. What is acknowledged may be unknown to the client, which
sends again. An oracle that shares no code with the group reads all that was ever
journaled, and says what each point holds.

``GROUP_HISTORIES=20000`` runs as many.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from boardd.core.groups import attempts, closing, positions, windows
from boardd.core.groups.entries import (
    Attempt,
    Began,
    Entry,
    Joined,
    Scalars,
    State,
    Summary,
    Tags,
)
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from support.group_oracle import TAGS, Oracle, Values, emissions

HISTORIES = int(os.environ.get("GROUP_HISTORIES", "200"))


class KilledError(Exception):
    """The daemon is no more."""


@dataclass(eq=False)
class Process:
    """One process of a rank: what it logs, and how far that is known."""

    joined: Joined
    records: list[tuple[int, int, float]]
    purge_step: int | None
    dies_at: int
    speed: float
    acknowledged: int = 0
    has_begun: bool = False
    is_gone: bool = False


@dataclass(eq=False)
class Segment:
    """Entries, each with the session and the number of its last record."""

    entries: list[tuple[Entry, bytes, int]] = field(default_factory=list)


class History:
    """One random history, made by ``seed``. ``healthy``: no rank dies or is too slow."""

    def __init__(self, seed: int, *, healthy: bool = False) -> None:
        self.rnd = rnd = random.Random(seed)
        self.healthy = healthy
        self.ranks = rnd.randint(1, 5)
        self.steps = rnd.randint(1, 12)
        self.limits = GroupLimits(
            join_secs=1e9 if healthy else rnd.choice((5.0, 60.0)),
            lag_points=1000 if healthy else rnd.choice((0, 1, 3, 1000)),
            backlog_secs=rnd.choice((0.0, 2.0)),
            lag_secs=1e9 if healthy else rnd.choice((3.0, 1e9)),
            max_open_bytes=1 << 30 if healthy else rnd.choice((3000, 1 << 30)),
        )
        self.kills = rnd.randint(0, 6)
        self.until_kill: int | None = None
        self.now = 0.0
        self.numbers = 0
        self.segments = [Segment()]
        #: The marks at the head of the newest segment.
        self.kept_marks: dict[bytes, int] = defaultdict(int)
        self.oracle = Oracle()
        #: What was written to event files, and up to where.
        self.shown: dict[int, Any] = {}
        self.written = 0
        self.processes = self.launch(0, Attempt(10, rnd.choice(("", "job")), 0), 0)
        self.waiting: list[list[Process]] = []
        if not healthy and rnd.random() < 0.5:
            self.waiting.append(self.relaunch())

    def relaunch(self) -> list[Process]:
        first = self.processes[0].joined.attempt
        attempt = self.rnd.choice(
            (
                Attempt(20, first.launch, first.number),
                Attempt(20, first.launch, 1),
                Attempt(20, "other", 0),
                Attempt(5, "older", 0),
            )
        )
        return self.launch(1, attempt, self.rnd.randint(0, self.steps))

    def launch(self, number: int, attempt: Attempt, first_step: int) -> list[Process]:
        rnd = self.rnd
        launched = []
        purge = first_step if number and rnd.random() < 0.3 else None
        for rank in range(self.ranks):
            if not self.healthy and rnd.random() < 0.1:
                continue  # This one never comes.
            joined = Joined(
                b"%d.%d" % (number, rank),
                rank,
                attempt,
                self.ranks,
                "host",
                100 * number + rank,
                False,
            )
            records = []
            for step in range(first_step, first_step + self.steps):
                for tag in range(len(TAGS)):
                    if (tag == 1 and rank % 2) or (tag == 3 and rank):
                        continue
                    if tag == 2 and step % 3 and rank:
                        continue
                    at = step
                    if not self.healthy and rnd.random() < 0.03:
                        at -= rnd.randint(1, 3)
                    for _ in range(2 if rnd.random() < 0.1 else 1):
                        self.numbers += 1
                        records.append((tag, at, float(self.numbers * 100 + rank)))
            dies = rnd.randint(0, len(records)) if not self.healthy and rnd.random() < 0.2 else None
            end = len(records) if dies is None else dies
            launched.append(Process(joined, records, purge, end, rnd.random() + 0.05))
        return launched or self.launch(number, attempt, first_step)

    def play(self) -> None:
        for _ in range(60):
            self.until_kill = self.rnd.randint(0, 60) if self.kills else None
            try:
                self.live()
                return
            except KilledError:
                self.kills -= 1
        raise AssertionError("no progress")

    def live(self) -> None:
        """One daemon's life, until all is logged and shown."""
        rnd = self.rnd
        self.group = Group(self.limits)
        self.replay()
        if self.group.group_id is None:
            self.append(Began(b"g" * 16, self.ranks))
            if self.rnd.random() < 0.5:
                self.append(Tags(0, tuple(TAGS[:2])))
        for tag in TAGS:
            added = self.group.new_tags([tag])
            if added is not None:
                self.append(added)
        for process in self.processes:
            assert self.marks[process.joined.session] >= process.acknowledged
        while True:
            self.now += rnd.random() * (0.01 if self.healthy else 2.0)
            there = [process for process in self.processes if not process.is_gone]
            if self.waiting and (not there or rnd.random() < 0.02):
                self.processes += self.waiting.pop()
                continue
            if there:
                self.serve(rnd.choices(there, [process.speed for process in there])[0])
            elif self.group.is_over(self.now):
                break
            else:
                next_due = self.group.next_due(self.now)
                assert next_due is not None, "nothing is due, and the group is not over"
                self.now = max(self.now, next_due)
            for _ in range(rnd.randint(0 if there else 1, 3)):
                due = self.group.due(self.now)
                self.append(*due)
                if not due:
                    assert not self.oracle.done(), "a point is done, and stays open"
            if rnd.random() < 0.05:
                self.rotate()
        assert not self.oracle.open
        assert self.group.next_sequence == self.oracle.sequence

    def serve(self, process: Process) -> None:
        """Takes something of one process: its beginning, some records or its end."""
        rnd, session = self.rnd, process.joined.session
        first = self.marks[session]
        if first >= process.dies_at:
            if process.has_begun:
                self.append(*self.group.leave(session))
            process.is_gone = True
            return
        process.has_begun = True
        self.append(*self.group.admit(process.joined))
        if process.purge_step is not None and not first:
            self.append(*self.group.purge(session, process.purge_step))
        end = min(first + rnd.choice((1, 3, 7, 20)), process.dies_at)
        batch = process.records[first:end]
        while batch:
            if TAGS[batch[0][0]].kind == "scalar":
                length = next(
                    (at for at, one in enumerate(batch) if TAGS[one[0]].kind != "scalar"),
                    len(batch),
                )
            else:
                length = 1
            part, batch = batch[:length], batch[length:]
            tag, step, value = zip(*part, strict=True)
            columns = np.array(tag, np.intp), np.array(step, np.int64)
            self.append(*self.group.rewind(session, *columns))
            first += length
            values = np.array(value)
            if TAGS[tag[0]].kind == "scalar":
                entry: Entry = Scalars(session, *columns, values, values)
            else:
                partial = Values(frozenset(value))
                entry = Summary(session, tag[0], step[0], value[0], partial)
            self.append(entry, session=session, sequence=first)
        if rnd.random() < 0.7:
            process.acknowledged = first

    def append(self, *entries: Entry, session: bytes = b"", sequence: int = 0) -> None:
        """Journals entries, applies them, and writes what they show."""
        for entry in entries:
            self.may_die()
            self.segments[-1].entries.append((entry, session, sequence))
            self.oracle.apply(entry)
            if session:
                assert sequence > self.marks[session], "journaled twice"
                self.marks[session] = sequence
        found: dict[int, Any] = {}
        for entry in entries:
            found.update(emissions(self.group.apply(entry, self.now)))
        self.show(found)
        assert self.group.late == {rank: late for rank, late in self.oracle.late.items() if late}
        assert self.group.open_points == len(self.oracle.open)
        assert (self.group.open_bytes > 0) == bool(self.oracle.open)

    def show(self, found: dict[int, Any]) -> None:
        for sequence in sorted(found):
            if sequence in self.shown:
                assert self.shown[sequence] == found[sequence], "shown differently"
            if sequence > self.written:
                assert sequence == self.written + 1, "a point is left out"
                self.may_die()
                self.shown[sequence] = found[sequence]
                self.written = sequence

    def may_die(self) -> None:
        if self.until_kill is not None:
            self.until_kill -= 1
            if self.until_kill < 0:
                raise KilledError

    def replay(self) -> None:
        found: dict[int, Any] = {}
        self.marks = self.kept_marks.copy()
        is_first = True
        for segment in self.segments:
            for entry, session, sequence in segment.entries:
                if session:
                    self.marks[session] = max(self.marks[session], sequence)
                if isinstance(entry, State) and not is_first:
                    continue
                is_first = False
                found.update(emissions(self.group.apply(entry, self.now)))
        self.show(found)

    def rotate(self) -> None:
        """Begins a segment, and deletes old ones whose points are all written."""
        self.may_die()
        self.kept_marks = self.marks.copy()
        self.segments.append(Segment([(self.group.state(), b"", 0)]))
        still_open = {value for point in self.oracle.open.values() for value in point.values()}
        while len(self.segments) > 1 and not still_open & contributed(self.segments[0]):
            self.may_die()
            del self.segments[0]

    def check(self) -> None:
        """Everything logged is in one point or was late, and all is shown."""
        assert self.shown.keys() == self.oracle.emitted.keys()
        in_points = 0
        for sequence, expected in self.oracle.emitted.items():
            assert self.shown[sequence] == expected
            if isinstance(expected, tuple) and isinstance(expected[0], int):
                in_points += len(expected[3])
        logged = sum(process.dies_at for process in self.processes)
        assert in_points + sum(self.oracle.late.values()) == logged
        if self.healthy:
            assert not self.oracle.late
            assert not self.oracle.incomplete


def contributed(segment: Segment) -> set[float]:
    values: set[float] = set()
    for entry, _, _ in segment.entries:
        if isinstance(entry, Scalars):
            values.update(entry.value.tolist())
        elif isinstance(entry, Summary):
            assert isinstance(entry.partial, Values)
            values |= entry.partial.values
    return values


@pytest.fixture(autouse=True)
def _short_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision often takes several entries."""
    monkeypatch.setattr(closing, "MAX_POINTS", 3)


def play(seed: int, *, healthy: bool = False) -> History:
    history = History(seed, healthy=healthy)
    history.play()
    history.check()
    return history


def play_all(histories: int) -> None:
    for seed in range(histories):
        play(seed, healthy=True)
        play(seed)


def test_every_contribution_is_in_one_point_whatever_happens_to_the_daemon() -> None:
    late = sum(bool(play(seed).oracle.late) for seed in range(HISTORIES))
    assert late > HISTORIES // 10


def test_points_of_healthy_ranks_have_all_that_was_logged() -> None:
    for seed in range(HISTORIES // 2):
        play(seed, healthy=True)


def forget_open_keys(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(windows.Windows, "restore", lambda self, arrays: None)


def never_wait_for_who_is_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        positions.Positions, "wait_for", lambda self, ranks: WAIT_FOR(self, list(ranks)[:1])
    )


def trust_the_last_floor(patch: pytest.MonkeyPatch) -> None:
    """The floor is that of whoever moved last, not of all ranks."""

    def floor(self: positions.Positions, tags: int) -> tuple[np.ndarray, np.ndarray]:
        self.grow_tags(tags)
        if not len(self._awaited):
            return FLOOR(self, tags)
        return self._step[:, :tags].max(axis=0), self._nth[:, :tags].max(axis=0)

    patch.setattr(positions.Positions, "floor", floor)


def take_what_is_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        positions.Frontiers, "covers", lambda self, tag, step, nth: np.zeros(len(tag), bool)
    )


def count_every_log_as_the_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        positions.Positions, "advance", lambda self, *args: np.minimum(ADVANCE(self, *args), 0)
    )


def take_old_attempts(patch: pytest.MonkeyPatch) -> None:
    def join(self: attempts.Attempts, joined: Joined, now: float) -> bool:
        has_moved = JOIN(self, joined, now)
        for member in self:
            member.is_old = False
        return has_moved

    patch.setattr(attempts.Attempts, "join", join)


def leave_points_of_an_attempt_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Group, "_joining", lambda self, joined: [joined])


def wait_for_nobody_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(closing.Closing, "awaits_ranks", lambda self, now: False)


def forget_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(positions.Positions, "restore", lambda self, arrays: None)


def rewind_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(positions.Frontiers, "rewind", lambda self, step: None)


def number_health_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(closing, "HEALTH_TAGS", closing.HEALTH_TAGS[:3])


WAIT_FOR = positions.Positions.wait_for
FLOOR = positions.Positions.floor
ADVANCE = positions.Positions.advance
JOIN = attempts.Attempts.join


@pytest.mark.parametrize(
    "mutant",
    [
        forget_open_keys,
        never_wait_for_who_is_behind,
        trust_the_last_floor,
        take_what_is_late,
        count_every_log_as_the_first,
        take_old_attempts,
        leave_points_of_an_attempt_open,
        wait_for_nobody_new,
        forget_positions,
        rewind_nothing,
        number_health_once,
    ],
)
def test_histories_find_a_defect(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, IndexError, KeyError, StopIteration)):
        play_all(200)
