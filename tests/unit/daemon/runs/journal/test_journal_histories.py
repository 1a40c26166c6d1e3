"""Random histories of a group's journal, through daemons that die and disks that fail.

A daemon's write may kill it, with a part of the bytes in the file; the disk may be full, or
fail with an error, and not tell how much it has taken. The next daemon replays what is
there. Meanwhile segments end, and go when nothing in them is needed. Each contribution must
come back once, in order, as long as its point is open; and each decision.

``MARKS_HISTORIES`` says how many are played.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from pathlib import Path

import pytest
from boardd.core.runs.contents import RunContents
from boardd.runs.event_files import mark_writer, recovery
from boardd.runs.journal import journal
from boardd.runs.journal.journal import Journal
from boardd.runs.journal.journal_segments import Segment
from support.faulty_writes import FaultyWrites, KilledError
from support.journal_life import JournalLife

HISTORIES = int(os.environ.get("MARKS_HISTORIES", "150"))
STEPS = 60


class History:
    """One random history, made by ``seed``."""

    def __init__(self, seed: int, root: Path) -> None:
        self.rnd = random.Random(seed)
        self.root = root
        self.sessions = self.rnd.randint(1, 3)
        self.segment_bytes = self.rnd.choice((1, 400, 1500))
        self.acknowledged = [0] * self.sessions
        self.decided = 0
        #: Emissions that are written and synced.
        self.written = 0

    def play(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """Plays it to its end; returns how many daemons it took."""
        lives = 0
        while min(self.acknowledged) < STEPS:
            lives += 1
            assert lives < 300, "no progress"
            kinds = ("", 0.0), ("kill", 0.3), ("kill", 0.05), ("full", 0.3)
            errors = ("error", 0.3), ("unsure", 0.3)
            with monkeypatch.context() as patch:
                kind = self.rnd.choice(kinds + errors)
                patch.setattr(os, "write", FaultyWrites(self.rnd, *kind).write)
                self.root.mkdir(exist_ok=True)
                one = JournalLife(self.root, self.sessions, segment_bytes=self.segment_bytes)
                try:
                    self.check(one)
                    self.live(one)
                except KilledError:
                    pass
                finally:
                    one.close()
        one = JournalLife(self.root, self.sessions)
        self.check(one)
        one.close()
        return lives

    def check(self, one: JournalLife) -> None:
        one.check()
        for found, least in zip(one.ledger.last, self.acknowledged, strict=True):
            assert found >= least, "what was acknowledged is lost"
        assert one.ledger.emitted >= self.decided, "a decision is lost"

    def live(self, one: JournalLife) -> None:
        """One daemon's life: at most a few dozen appends."""
        rnd, ledger = self.rnd, one.ledger
        if not ledger.has_begun:
            one.append(one.begin())
        for _ in range(rnd.randint(1, 30)):
            records = []
            for session in rnd.sample(range(self.sessions), rnd.randint(1, self.sessions)):
                after = ledger.last[session]
                for _ in range(rnd.randint(1, 2)):
                    count = rnd.randint(1, 4)
                    records.append(one.log(session, count, after=after))
                    after += count
            if rnd.random() < 0.5:
                session = rnd.randrange(self.sessions)
                if ledger.open[session]:
                    records.insert(0, one.decide(session, rnd.choice(list(ledger.open[session]))))
            one.append(*records)
            if rnd.random() < 0.7:
                self.acknowledged = list(ledger.last)
                self.decided = ledger.emitted
            if rnd.random() < 0.3:
                self.written = rnd.randint(self.written, ledger.emitted)
                try:
                    one.release(self.written)
                except OSError:
                    continue


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No sync, which takes the time; tables of marks that are small, so that there are many."""
    caplog.set_level(logging.CRITICAL, "boardd")
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(mark_writer, "TABLE_BYTES", 300)
    monkeypatch.setattr(mark_writer, "TABLE_SHARE", 1)


def play_all(histories: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    lives = 0
    for seed in range(histories):
        try:
            lives += History(seed, root).play(monkeypatch)
        finally:
            shutil.rmtree(root)
    return lives


@pytest.mark.usefixtures("quick")
def test_each_contribution_is_replayed_once_whatever_happens_to_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play_all(HISTORIES, tmp_path / "logs", monkeypatch) > HISTORIES


SETTLE = recovery._Reading.settle
RELEASED = Journal.released
OPENING = journal._SegmentKind.opening
REPLAYED = journal.replayed


def whole_replayed(segments: list[Segment]) -> list[Segment]:
    row = REPLAYED(segments)
    whole = {one.name: one for one in segments}
    return [whole[one.name] for one in row]


def newest_replayed(segments: list[Segment]) -> list[Segment]:
    starts = [at for at, one in enumerate(segments) if one.is_start]
    return segments[starts[-1] :] if starts else []


def recover_nothing(one: Journal, newest: Segment, contents: RunContents) -> None:
    pass


MUTANTS: dict[str, tuple[object, str, object]] = {
    "a torn append counts as whole": (
        recovery._Reading,
        "settle",
        lambda reading, events: SETTLE(reading, 1 << 40),
    ),
    "marks are not read": (Journal, "_recover_marks", recover_nothing),
    "a segment does not end where the next begins": (journal, "replayed", whole_replayed),
    "replay begins at the newest state": (journal, "replayed", newest_replayed),
    "each segment has a state": (
        journal._SegmentKind,
        "opening",
        lambda kind, written_events, is_whole: OPENING(kind, written_events, True),
    ),
    "open points do not keep a segment": (
        Journal,
        "released",
        lambda one, oldest, emitted, written: RELEASED(one, one.entries, emitted, written),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.usefixtures("quick")
def test_histories_find_a_defect(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(where, attribute, mutant)
    with pytest.raises(AssertionError):
        play_all(60, tmp_path / "logs", monkeypatch)
