"""Random histories of daemons that die in the middle of a write, over real event files.

Several sessions feed two runs. A write may end at any byte: with the daemon, on a full
disk, or with an error that makes the file suspect. Acknowledgements get lost, and clients
send again what they have not heard of. Afterwards every record must be there once, in
order, as an independent reader finds it.

``MARKS_HISTORIES=20000`` runs as many.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from boardd.core.intake.columns import Columns
from boardd.core.runs.contents import RunContents
from boardd.core.runs.marks import NO_SESSION, session_key
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, ScalarPart, SummaryPart
from boardd.events import event, marks
from boardd.events.values import image_value, scalar_value
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files import event_records, mark_writer, recovery
from boardd.runs.event_files.event_file import EventFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.recovery import recover
from boardd.runs.writing import encode
from boardd.runs.writing.encode import (
    Encoded,
    encode_drops,
    encode_scalar_part,
    encode_summary,
    join,
)
from boardd.summaries.reduction import EncodedSummary
from boardd_protos.summary_kind import SummaryKind
from support.faulty_writes import FaultyWrites, KilledError
from support.independent_reader import points, run_events

HISTORIES = int(os.environ.get("MARKS_HISTORIES", "150"))
NOW = 1_700_000_000.0
#: The file that another program left in each run says that this is an image.
TAGS = ["loss", "picture", "images"]
SCALAR, REJECTED, IMAGE = range(3)


class Run:
    """A run's writer in one daemon's life."""

    def __init__(self, root: Path, name: str) -> None:
        self.directory: RunDirectory = Roots([root]).open_run(name)
        self.state = RunState(str(root / name), "", "", 100)
        for tag in TAGS:
            self.state.tag_index(tag)
        recover(self.directory, self.state.contents)
        self.file = EventFile(
            self.directory,
            hostname="host",
            clock=lambda: NOW,
            marks=MarkWriter(self.state.contents, lambda: NOW),
        )

    @property
    def contents(self) -> RunContents:
        return self.state.contents

    def append(self, *encoded: Encoded) -> None:
        data, parts = join(encoded)
        call: Callable[[], None] = lambda: self.file.append(data, parts)  # noqa: E731
        while True:
            try:
                call()
                return
            except OSError:
                call = self.file.resume

    def encoded(self, session_id: bytes, records: list[tuple[int, int]]) -> Iterator[Encoded]:
        """What is to be written for records of one session, each a sequence number and kind."""
        for sequence, kind in records:
            if kind == IMAGE:
                summary = SummaryPart(
                    session_id, self.state, None, sequence, 1, 1, 2, sequence, NOW, b"", {}
                )
                data = event.summary(NOW, sequence, image_value("images", b"png", 1, 1, 1))
                yield encode_summary(summary, EncodedSummary(data, {b"images": SummaryKind.IMAGE}))
                continue
            columns = Columns(
                np.array([sequence], np.uint64),
                np.array([sequence]),
                np.array([NOW]),
                np.array([float(session_id[0])]),
            )
            part = ScalarPart(
                session_id, self.state, None, sequence, 1, 1, columns, np.array([kind], np.intp)
            )
            found = encode_scalar_part(part)
            assert bool(found.refused) == (kind == REJECTED)
            yield found

    def drop(self, session_id: bytes, records: int) -> Encoded:
        return encode_drops(
            DropPart(session_id, self.state, None, 0, 0, 1, {"full": records}, records, NOW)
        )

    def purge(self) -> Encoded:
        self.contents.epoch += 1
        data = event.summary(NOW, self.contents.epoch, scalar_value("purge", 0.0))
        return Encoded(data + data, marks.Part(NO_SESSION, np.zeros(2, np.uint64)))

    def close(self) -> None:
        self.file.close()
        self.directory.close()


class History:
    """One random history, made by ``seed``."""

    def __init__(self, seed: int, root: Path) -> None:
        self.rnd = rnd = random.Random(seed)
        self.root = root
        self.sessions = [bytes([65 + number]) * 16 for number in range(rnd.randint(1, 3))]
        #: Of each session, the run and kind of each record.
        self.logs = {
            session: [
                (rnd.randrange(2), rnd.choice((SCALAR, SCALAR, SCALAR, REJECTED, IMAGE)))
                for _ in range(rnd.randint(3, 60))
            ]
            for session in self.sessions
        }
        self.acknowledged = dict.fromkeys(self.sessions, 0)
        self.dropped = dict.fromkeys(self.sessions, 0)
        for name in "01":
            path = root / name
            path.mkdir(parents=True)
            value = image_value("picture", b"png", 1, 1, 1)
            (path / "events.out.tfevents.1600000000.other").write_bytes(
                event.file_version(NOW) + event.summary(NOW, 0, value)
            )

    def play(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """Plays it to its end; returns how many daemons it took."""
        lives = 0
        while any(self.acknowledged[one] < len(self.logs[one]) for one in self.sessions):
            lives += 1
            assert lives < 300, "no progress"
            kinds = (("", 0.0), ("kill", 0.3), ("full", 0.3), ("error", 0.3), ("kill", 0.05))
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", FaultyWrites(self.rnd, *self.rnd.choice(kinds)).write)
                runs = [Run(self.root, name) for name in "01"]
                try:
                    for run in runs:
                        self.check_epoch(run)
                    self.live(runs)
                except KilledError:
                    pass
                finally:
                    for run in runs:
                        run.close()
        return lives

    def live(self, runs: list[Run]) -> None:
        """One daemon's life, until all is written."""
        rnd = self.rnd
        sent = dict(self.acknowledged)
        while any(sent[one] < len(self.logs[one]) for one in self.sessions):
            batches: list[list[Encoded]] = [[], []]
            took = {}
            for session in rnd.sample(self.sessions, rnd.randint(1, len(self.sessions))):
                took[session] = min(sent[session] + rnd.randint(1, 8), len(self.logs[session]))
                for number, run in enumerate(runs):
                    own = [
                        (sequence, kind)
                        for sequence, (at, kind) in enumerate(self.logs[session], 1)
                        if at == number and sent[session] < sequence <= took[session]
                    ]
                    batches[number] += run.encoded(session, own)
                    self.dropped[session] += rnd.choice((0, 0, 1))
                    if self.dropped[session] and rnd.random() < 0.3:
                        run.append(run.drop(session, self.dropped[session]))
            for number in rnd.sample((0, 1), 2):
                if rnd.random() < 0.05:
                    batches[number].append(runs[number].purge())
                runs[number].append(*batches[number])
                if rnd.random() < 0.1:
                    runs[number].contents.marks.end(session_key(rnd.choice(self.sessions)))
            sent.update(took)
            for session in took:
                if rnd.random() < 0.7:
                    self.acknowledged[session] = sent[session]
        if rnd.random() < 0.5:
            for run in runs:
                run.file.finish()
            self.acknowledged.update(sent)

    def check_epoch(self, run: Run) -> None:
        """The epoch is that of the last purge that is in the files as a whole."""
        steps = [step for step, _ in points(run.directory.path, "purge")]
        whole = max((step for step in steps if steps.count(step) >= 2), default=0)
        assert run.contents.epoch == whole

    def check(self) -> None:
        """Every record is there once and in order."""
        for number, name in enumerate("01"):
            path = self.root / name
            for session in self.sessions:
                expected = [
                    sequence
                    for sequence, (at, kind) in enumerate(self.logs[session], 1)
                    if (at, kind) == (number, SCALAR)
                ]
                found = [step for step, value in points(path, "loss") if value == session[0]]
                assert found == expected, (name, session[:1])
            images = [step for step, _ in points(path, "images")]
            assert len(images) == sum(log.count((number, IMAGE)) for log in self.logs.values()), (
                "an image is missing or there twice"
            )
            assert [value.field for one in run_events(path) for value in one.values].count(4) == (
                len(images) + 1
            )
            totals = [total for _, total in points(path, "boardd/dropped")]
            assert totals == sorted(set(totals)), "drops are told twice"


@pytest.fixture
def small_tables(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Tables and reads are small, so that each file has many."""
    caplog.set_level(logging.CRITICAL, "boardd")
    monkeypatch.setattr(mark_writer, "TABLE_BYTES", 300)
    monkeypatch.setattr(mark_writer, "TABLE_SHARE", 1)
    monkeypatch.setattr(event_records, "_CHUNK_BYTES", 128)


def play(seed: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    history = History(seed, root)
    try:
        lives = history.play(monkeypatch)
        history.check()
    finally:
        shutil.rmtree(root)
    return lives


def play_all(histories: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    return sum(play(seed, root, monkeypatch) for seed in range(histories))


@pytest.mark.usefixtures("small_tables")
def test_every_record_is_written_once_whatever_happens_to_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play_all(HISTORIES, tmp_path / "logs", monkeypatch) > HISTORIES


def settle_all(reading: recovery._Reading, events: int) -> None:
    """Takes a torn batch for a whole one."""
    SETTLE(reading, 1 << 40)


def settle_none(reading: recovery._Reading, events: int) -> None:
    """Takes the last batch for one of which nothing is written."""
    SETTLE(reading, 0)


SETTLE = recovery._Reading.settle
MUTANTS: dict[str, tuple[object, str, object]] = {
    "a torn batch counts as whole": (recovery._Reading, "settle", settle_all),
    "batches count as empty": (recovery._Reading, "settle", settle_none),
    "nothing is recovered": (recovery, "has_marks", lambda records: False),
    "the newest file counts, its first mark torn": (recovery, "has_marks", lambda records: True),
    "what is recovered is not looked at": (encode, "_written", lambda sequences, mark: 0),
    "a suspect file's events are forgotten": (
        MarkWriter,
        "written",
        lambda writer, parts, events=None: list(parts),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.usefixtures("small_tables")
def test_histories_find_a_defect(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(where, attribute, mutant)
    with pytest.raises(AssertionError):
        play_all(60, tmp_path / "logs", monkeypatch)
