"""What a run's event files say to the next daemon, and where they are."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from boardd.core.runs.contents import RunContents
from boardd.core.runs.marks import NO_SESSION
from boardd.events import event, marks
from boardd.events.marks import Part
from boardd.events.marks_pb2 import Batch
from boardd.events.values import image_value, scalar_value
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files import recovery
from boardd.runs.event_files.event_file import EventFile, SyncFailedError
from boardd.runs.event_files.event_records import EventRecords
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.recovery import recover
from boardd_protos.summary_kind import SummaryKind
from support.independent_reader import points

NOW = 1_700_000_000.0
A, B = b"a" * 16, b"b" * 16


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    with Roots([tmp_path]).open_run("run") as run:
        yield run


class Life:
    """A daemon's life, as far as one run knows of it."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.contents = RunContents()
        recover(directory, self.contents)
        writer = MarkWriter(self.contents, lambda: NOW)
        self.file = EventFile(directory, hostname="host", clock=lambda: NOW, marks=writer)

    def write(self, session: bytes, *sequences: int) -> None:
        data = [event.summary(NOW, sequence, scalar_value("loss", 0.5)) for sequence in sequences]
        self.file.append(data, [Part(session, np.array(sequences, np.uint64))])

    @property
    def path(self) -> Path:
        assert self.file.path is not None
        return self.file.path

    def sequences(self) -> tuple[int, int]:
        return self.contents.marks.sequence(A), self.contents.marks.sequence(B)


def steps(directory: RunDirectory) -> list[int]:
    return [step for step, _ in points(directory.path, "loss")]


class CountedRecords(EventRecords):
    """Counts the bytes that were read."""

    read_bytes = 0

    def _read(self, offset: int, size_bytes: int) -> bytes:
        data = super()._read(offset, size_bytes)
        self.read_bytes += len(data)
        return data


def test_little_is_looked_at_however_long_a_file_of_short_appends_is(
    directory: RunDirectory,
) -> None:
    life = Life(directory)
    data = event.summary(NOW, 1, scalar_value("loss", 0.5))
    for number in range(1, 10_001):
        life.file.append(data, [Part(A, np.array([number], np.uint64))])
    with open(life.path, "rb") as file:
        records = CountedRecords(file.fileno())
        table = records.last_table()
        assert table is not None
        assert records.read_bytes <= 3 << 20
        assert sum(1 for _ in records.walk(table)) <= 8_000
    assert Life(directory).sequences() == (10_000, 0)


def test_a_long_table_is_told_again_before_the_file_is_far_longer() -> None:
    contents = RunContents()
    names = [b"tag/%0100d" % number for number in range(20_000)]
    contents.kinds.take(names[0], dict.fromkeys(names, SummaryKind.SCALAR))
    writer = MarkWriter(contents, lambda: NOW)
    parts = [Part(A, np.array([1], np.uint64))]
    table = len(writer.mark(parts, 1))
    assert table > 2 << 20
    assert len(writer.mark(parts, 2 * table)) < 100
    assert len(writer.mark(parts, 2 * table + 1)) >= table


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"known": 7, "runs": [0, 1]}, "names session 7"),
        ({"session": B, "runs": [2**64 - 1, 1]}, "tells record 18446744073709551616"),
    ],
)
def test_a_mark_that_cannot_be_ends_what_its_file_tells(
    directory: RunDirectory,
    caplog: pytest.LogCaptureFixture,
    part: dict[str, object],
    what: str,
) -> None:
    records = [event.file_version(NOW)]
    shown = event.summary(NOW, 1, scalar_value("loss", 0.5))
    good = {"session": A, "runs": [0, 1]}
    for number, told in enumerate((good, part, {"session": A, "runs": [8, 1]})):
        offset = 0 if number else sum(map(len, records))
        records += [marks.mark(NOW, Batch(offset=offset, parts=[told])), shown]
    path = directory.path / "events.out.tfevents.1600000000.h"
    path.write_bytes(b"".join(records))
    life = Life(directory)
    assert life.sequences() == (1, 0)
    assert what in caplog.text
    life.write(A, 2)
    assert Life(directory).sequences() == (2, 0)


def test_the_next_daemon_knows_what_is_written(directory: RunDirectory) -> None:
    first = Life(directory)
    first.write(A, 1, 2, 5)
    first.write(B, 7)
    first.write(NO_SESSION, 0, 0)
    first.contents.kinds.take(b"x", {b"x": SummaryKind.IMAGE, b"y": SummaryKind.TEXT})
    first.write(A, 6)
    first.contents.marks.end(B)
    first.contents.dropped_step = -3
    first.file.finish()
    first.file.close()
    second = Life(directory)
    assert second.sequences() == (6, 7)
    assert [(key, mark.has_ended) for key, mark in second.contents.marks] == [
        (A, False),
        (B, True),
    ]
    assert dict(second.contents.kinds) == {b"x": SummaryKind.IMAGE, b"y": SummaryKind.TEXT}
    assert second.contents.dropped_step == -3
    # And so does the one after it, though this one wrote nothing more of them.
    second.write(b"c" * 16, 1)
    second.file.close()
    assert Life(directory).sequences() == (6, 7)


def test_whole_events_behind_the_last_mark_count(directory: RunDirectory) -> None:
    life = Life(directory)
    life.write(A, 1)
    path, size_bytes = life.path, life.path.stat().st_size
    life.write(A, 2, 3, 9)
    life.file.close()
    data = path.read_bytes()
    found = []
    for end in range(size_bytes, len(data) + 1):
        path.write_bytes(data[:end])
        found.append(Life(directory).sequences()[0])
    assert found == sorted(found)
    assert set(found) == {1, 2, 3, 9}
    assert found.count(9) == 1


def test_a_damaged_event_ends_what_is_read(directory: RunDirectory) -> None:
    life = Life(directory)
    life.write(A, 1, 2)
    data = bytearray(life.path.read_bytes())
    data[-1] ^= 1
    life.path.write_bytes(data)
    assert Life(directory).sequences() == (1, 0)


@pytest.mark.parametrize("kept_bytes", [0, 5, 60, 90])
def test_a_file_torn_before_its_first_mark_holds_nothing(
    directory: RunDirectory, kept_bytes: int
) -> None:
    first = Life(directory)
    first.write(A, 1, 2)
    first.file.close()
    second = Life(directory)
    second.write(A, 3)
    data = second.path.read_bytes()
    second.path.write_bytes(data[:kept_bytes])
    second.file.close()
    assert Life(directory).sequences() == (2, 0)


def test_files_of_other_programs_tell_what_their_tags_are(
    directory: RunDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = event.summary(NOW, 1, image_value("picture", b"png", 1, 1, 1))
    (directory.path / "events.out.tfevents.1.x").write_bytes(event.file_version(NOW) + picture)
    life = Life(directory)
    assert dict(life.contents.kinds) == {b"picture": SummaryKind.IMAGE}
    life.write(A, 1)
    life.file.close()
    # A file of ours has it from then on; what is newer is read.
    loss = event.summary(NOW, 1, scalar_value("newer", 0.0))
    (directory.path / "events.out.tfevents.9999999999.x").write_bytes(loss)
    (directory.path / "events.out.tfevents.1.x").unlink()
    again = Life(directory)
    assert dict(again.contents.kinds) == {
        b"picture": SummaryKind.IMAGE,
        b"newer": SummaryKind.SCALAR,
    }
    assert again.sequences() == (1, 0)
    assert not caplog.records
    monkeypatch.setattr(recovery, "MAX_UNMARKED_BYTES", 10)
    with caplog.at_level(logging.WARNING):
        Life(directory)
    assert "not all of their tags are known" in caplog.text


AWAITING = """
import sys
from pathlib import Path
from boardd.core.runs.contents import RunContents
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.recovery import recover
from boardd.summaries import kernels

path = Path(sys.argv[1])
kernels.await_kernels()
contents = RunContents()
with Roots([path.parent]).open_run(path.name) as directory:
    recover(directory, contents)
assert "numba" not in sys.modules
print(sorted(name.decode() for name in dict(contents.kinds)))
"""


def test_while_kernels_are_awaited_long_files_tell_it_too(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    events = [event.summary(NOW, 1, scalar_value(f"tag {step % 3}", 0.0)) for step in range(3000)]
    data = b"".join(events)
    assert len(data) > recovery.UNCOMPILED_BYTES
    (path / "events.out.tfevents.1.x").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", AWAITING, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "['tag 0', 'tag 1', 'tag 2']\n", done.stderr


def test_what_only_looks_like_an_event_file_is_passed_over(directory: RunDirectory) -> None:
    os.mkfifo(directory.path / "tfevents.fifo")
    (directory.path / "tfevents.directory").mkdir()
    (directory.path / "tfevents.link").symlink_to("/dev/zero")
    assert Life(directory).sequences() == (0, 0)


def test_a_disk_that_fails_is_no_empty_run(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(directory)
    life.write(A, 1)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match="no"):
        Life(directory)


# Where the live file is


def test_a_file_that_was_removed_gets_no_more(directory: RunDirectory) -> None:
    life = Life(directory)
    life.write(A, 1)
    before = life.path
    before.unlink()
    life.write(A, 2)
    assert life.path.exists()
    assert steps(directory) == [2]
    with pytest.raises(SyncFailedError, match="removed or replaced"):
        life.file.sync()
    life.file.sync()
    life.file.close()
    assert Life(directory).sequences() == (2, 0)


def test_a_file_that_was_replaced_is_not_touched(directory: RunDirectory) -> None:
    life = Life(directory)
    life.write(A, 1)
    before = life.path
    before.rename(directory.path / "kept")
    before.write_bytes(b"")
    life.write(A, 2)
    assert before.read_bytes() == b""
    assert life.path != before
    assert steps(directory) == [2]


def test_a_removed_file_is_not_synced(directory: RunDirectory) -> None:
    life = Life(directory)
    life.write(A, 1)
    life.path.unlink()
    with pytest.raises(SyncFailedError, match="removed or replaced"):
        life.file.sync()
    life.write(A, 2)
    assert steps(directory) == [2]


def test_a_place_that_cannot_be_looked_at_holds_up(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(directory)
    life.write(A, 1)
    path = life.path

    def stale(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.ESTALE, "stale")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stale)
        with pytest.raises(OSError, match="stale"):
            life.write(A, 2)
    life.file.resume()
    assert life.path == path
    assert steps(directory) == [1, 2]


def test_a_half_written_append_is_written_anew_if_its_file_is_gone(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(directory)
    life.write(A, 1)
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[: len(data) - 60])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            life.write(A, 2, 3)
    life.path.unlink()
    life.file.resume()
    assert steps(directory) == [2, 3]
    with pytest.raises(SyncFailedError, match="removed or replaced"):
        life.file.close()
    assert Life(directory).sequences() == (3, 0)
