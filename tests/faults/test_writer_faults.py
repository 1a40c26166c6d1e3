"""Faults of the disk under a live event file, made by the kernel itself.

After each: TensorBoard's loaders find every event exactly once, in order.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boardd.events import event
from boardd.runs.directories.disk_full import DiskFullError
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from support.event_batches import BATCH_EVENTS, BATCHES, STEPS, batch, scalar
from support.tensorboard_reader import LOADERS, event_files, read_events, read_scalars
from support.tfrecords import TruncatedRecordError, read_records
from support.tools import require_tracing, tmpfs


def check_exactly_once(run: Path, expected: list[int] = STEPS) -> None:
    events = read_events(run)
    assert [read.step for read in events if read.HasField("summary")] == expected
    for loader in LOADERS:
        points = read_scalars(run, loader)["."]["loss"]
        assert [(point.step, point.value) for point in points] == [
            (step, float(step)) for step in expected
        ]


# A full disk ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", "size=64k") as path:
        yield path


def fill(path: Path) -> None:
    """Takes what room is left on the disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while os.write(fd, bytes(512)):
            pass
    os.close(fd)
    disk = os.statvfs(path)
    assert disk.f_bavail == 0


def test_full_disk_that_is_freed_again(small_disk: Path) -> None:
    with Roots([small_disk]).open_run("run") as directory:
        writer = EventFile(directory)
        writer.append(batch(0))
        fill(small_disk / "filler")
        # More than the page that the file has begun: a short write, mid-record.
        large = b"".join(map(scalar, range(BATCH_EVENTS, 1000)))
        with pytest.raises(DiskFullError) as caught:
            writer.append(large)
        assert caught.value.errno == errno.ENOSPC
        path = writer.path
        assert path is not None
        assert caught.value.filename == str(path)
        assert 0 < writer.pending_bytes < len(large)
        written = path.read_bytes()
        with pytest.raises(TruncatedRecordError):  # a record is torn, or this proves little
            list(read_records(written))

        for _ in range(3):
            pending_bytes = writer.pending_bytes
            with pytest.raises(DiskFullError):
                writer.resume()
            assert writer.pending_bytes == pending_bytes
        with pytest.raises(DiskFullError):
            writer.sync()
        with pytest.raises(RuntimeError, match="pending"):
            writer.append(scalar(1000))

        (small_disk / "filler").unlink()
        writer.resume()
        assert writer.pending_bytes == 0
        writer.append(scalar(1000))
        writer.sync()
        writer.close()
        whole = path.read_bytes()
        assert whole.startswith(written)
        assert whole.endswith(batch(0) + large + scalar(1000))
        assert event_files(directory.path) == [path]
        check_exactly_once(directory.path, list(range(1001)))


def test_full_disk_before_the_file_is_made(small_disk: Path) -> None:
    with Roots([small_disk]).open_run("run") as directory:
        fill(small_disk / "filler")
        writer = EventFile(directory)
        for _ in range(3):
            with pytest.raises(DiskFullError):
                writer.append(batch(0)) if not writer.pending_bytes else writer.resume()
        (small_disk / "filler").unlink()
        writer.resume()
        writer.close()
        check_exactly_once(directory.path, list(range(BATCH_EVENTS)))


def test_full_disk_one_page_at_a_time(small_disk: Path) -> None:
    # Room comes back in small pieces, so that the tear wanders over the records.
    filler = small_disk / "filler"
    data = b"".join(map(scalar, range(500)))
    with Roots([small_disk]).open_run("run") as directory:
        fill(filler)
        writer = EventFile(directory)
        stops = 0
        with pytest.raises(DiskFullError):
            writer.append(data)
        while writer.pending_bytes:
            os.truncate(filler, filler.stat().st_size - 4096)
            try:
                writer.resume()
            except DiskFullError:
                stops += 1
        assert stops > 2
        writer.close()
        check_exactly_once(directory.path, list(range(500)))


# Errors of write and fsync, injected into a child ---------------------------------------

CHILD = """
import json, resource, sys
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile, SyncFailedError
from support.event_batches import BATCHES, batch

root, options = sys.argv[1], json.loads(sys.argv[2])
if "file_bytes_max" in options:
    resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_bytes_max"],) * 2)
errors, suspect_bytes = 0, []
with Roots([root]).open_run("run") as directory:
    writer = EventFile(directory, hostname="host", clock=lambda: 1700000000.0)

    def until_done(step):
        global errors
        for _ in range(50):
            try:
                return step()
            except SyncFailedError as error:
                suspect_bytes.append(error.suspect_bytes)
                return None
            except OSError:
                errors += 1
                step = writer.resume
        raise SystemExit("never done")

    for number in range(BATCHES):
        until_done(lambda: writer.append(batch(number)))
        if options.get("sync"):
            until_done(writer.sync)
    until_done(writer.sync)
    until_done(writer.sync)
    writer.close()
print(json.dumps({"errors": errors, "suspect_bytes": suspect_bytes}))
"""


def name(second: int) -> str:
    return f"events.out.tfevents.{1_700_000_000 + second}.host"


def run_child(
    tmp_path: Path, *inject: str, only: list[Path] | None = None, **options: Any
) -> tuple[dict[str, Any], str]:
    """Runs the child under strace; returns what it printed, and the trace."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(options)]
    trace = tmp_path / "trace"
    if inject:
        require_tracing()
        prefix = ["strace", "-f", "-qq", "-y", "-o", str(trace)]
        for path in only or []:
            prefix += ["-P", str(path)]
        for expression in inject:
            prefix += ["-e", expression]
        command = prefix + command
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), trace.read_text() if inject else ""


@pytest.mark.parametrize("when", range(1, BATCHES + 1))
def test_write_error_at_each_write(tmp_path: Path, when: int) -> None:
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=write",
        f"inject=write:error=EIO:when={when}",
        only=[run / name(0)],
    )
    assert result == {"errors": 0, "suspect_bytes": []}
    # A file that got no event is taken away again.
    assert [path.name for path in event_files(run)] == (
        [name(0)] if when == 1 else [name(0), name(1)]
    )
    check_exactly_once(run)


def test_write_errors_that_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=write",
        "inject=write:error=EIO:when=3..12",
        only=[run / name(second) for second in range(20)],
    )
    assert result["errors"] > 2  # the caller is asked how long to wait
    assert len(event_files(run)) == 2  # and the run is not filled with empty files
    check_exactly_once(run)


@pytest.mark.parametrize("extra_bytes", [0, 1, 11, 12, 13, 41, 43])
def test_file_that_may_grow_no_more(tmp_path: Path, extra_bytes: int) -> None:
    # The write that crosses the limit is cut short, the next one gets EFBIG.
    limit = len(event.file_version(1.7e9)) + 10 * len(scalar(1)) + extra_bytes
    result, _ = run_child(tmp_path, file_bytes_max=limit)
    assert result == {"errors": 0, "suspect_bytes": []}
    files = event_files(tmp_path / "run")
    assert len(files) == 5
    assert all(path.stat().st_size <= limit for path in files)
    check_exactly_once(tmp_path / "run")


@pytest.mark.parametrize("when", range(1, BATCHES + 1))
def test_fsync_that_fails_is_never_tried_again(tmp_path: Path, when: int) -> None:
    run = tmp_path / "run"
    result, trace = run_child(
        tmp_path,
        "trace=fsync,fdatasync,openat",
        f"inject=fsync:error=EIO:when={when}",
        only=[run / name(0)],
        sync=True,
    )
    batch_bytes = len(batch(when - 1))
    opening_bytes = len(event.file_version(1.7e9)) if when == 1 else 0
    assert result == {"errors": 0, "suspect_bytes": [batch_bytes + opening_bytes]}
    assert len(re.findall(r"fsync\(", trace)) == when
    assert trace.count("INJECTED") == 1
    assert [path.name for path in event_files(run)] == (
        [name(0)] if when == BATCHES else [name(0), name(1)]
    )
    check_exactly_once(run)


def test_error_of_a_file_that_was_left_is_told_at_the_next_sync(tmp_path: Path) -> None:
    # write fails, the file is left, and its fsync fails too: what lies in it is
    # in doubt although the next sync reaches the new file well.
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=write,fsync",
        "inject=write:error=EIO:when=3",
        "inject=fsync:error=EIO:when=1",
        only=[run / name(0)],
    )
    written_bytes = len(event.file_version(1.7e9)) + len(batch(0)) + len(batch(1))
    assert result == {"errors": 0, "suspect_bytes": [written_bytes]}
    check_exactly_once(run)


def test_directory_entries_are_synced_once_for_each_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    _, trace = run_child(
        tmp_path,
        "trace=write,fsync",
        "inject=write:error=EIO:when=4",
        only=[tmp_path, run, run / name(0), run / name(1)],
        sync=True,
    )
    synced = [Path(path) for path in re.findall(r"fsync\(\d+<([^>]*)>", trace)]
    assert synced.count(run) == 2  # one for each of the two files
    assert synced.count(tmp_path) == 1  # the run's own directory was new
    assert synced[:3] == [run / name(0), tmp_path, run]
    check_exactly_once(run)


@pytest.mark.parametrize("what", ["directory", "parent"])
def test_fsync_of_a_directory_that_fails(tmp_path: Path, what: str) -> None:
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=fsync",
        "inject=fsync:error=EIO:when=1",
        only=[run if what == "directory" else tmp_path],
        sync=True,
    )
    assert len(result["suspect_bytes"]) == 1
    assert [path.name for path in event_files(run)] == [name(0), name(1)]
    check_exactly_once(run)


def test_filesystem_that_cannot_sync_directories(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=fsync",
        "inject=fsync:error=EINVAL",
        only=[tmp_path, run],
        sync=True,
    )
    assert result == {"errors": 0, "suspect_bytes": []}
    check_exactly_once(run)


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "EBADF"])
def test_filesystem_without_locks(tmp_path: Path, error: str) -> None:
    result, trace = run_child(
        tmp_path, "trace=flock", f"inject=flock:error={error}", only=[tmp_path / "run"]
    )
    assert "INJECTED" in trace
    assert result == {"errors": 0, "suspect_bytes": []}
    check_exactly_once(tmp_path / "run")


def test_file_that_cannot_be_made(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result, _ = run_child(
        tmp_path,
        "trace=openat",
        "inject=openat:error=EMFILE:when=1..3",
        only=[Path(name(0))],
    )
    assert result["errors"] == 3
    check_exactly_once(run)
