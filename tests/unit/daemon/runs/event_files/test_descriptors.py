"""Files of many runs on few descriptors."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from boardd.events import event
from boardd.events.values import scalar_value
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files import live_file
from boardd.runs.event_files.descriptors import Descriptors
from boardd.runs.event_files.event_file import EventFile, SyncFailedError
from boardd.runs.event_files.resting_file import RestingFile
from support.tensorboard_reader import event_files, read_events

RUNS = 6


def scalar(step: int) -> bytes:
    return event.summary(1.7e9, step, scalar_value("loss", float(step)))


def steps(directory: RunDirectory) -> list[int]:
    return [read.step for read in read_events(directory.path) if read.HasField("summary")]


@pytest.fixture
def directories(tmp_path: Path) -> Iterator[list[RunDirectory]]:
    roots = Roots([tmp_path])
    with ExitStack() as stack:
        yield [stack.enter_context(roots.open_run(str(number))) for number in range(RUNS)]


def open_files(beneath: Path) -> int:
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    paths = [os.readlink(link) for link in links if os.path.islink(link)]
    return sum("tfevents" in path and path.startswith(str(beneath)) for path in paths)


def append(descriptors: Descriptors, file: EventFile, records: bytes) -> None:
    with descriptors.using(file):
        file.append(records)


def test_many_runs_are_written_on_few_descriptors(
    directories: list[RunDirectory], tmp_path: Path
) -> None:
    descriptors = Descriptors(RUNS + 2)
    for _ in directories:
        descriptors.add_directory()
    files = [EventFile(directory) for directory in directories]
    for step in range(5):
        for file in files:
            append(descriptors, file, scalar(step))
            assert open_files(tmp_path) <= 2
    for file in files:
        with descriptors.using(file):
            file.sync()
        descriptors.close(file)
    assert open_files(tmp_path) == 0
    for directory in directories:
        assert steps(directory) == list(range(5))
        assert len(event_files(directory.path)) == 1


def test_the_file_that_was_used_last_is_kept(directories: list[RunDirectory]) -> None:
    descriptors = Descriptors(2)
    first, second, third = (EventFile(directory) for directory in directories[:3])
    for file in (first, second, first, third):
        append(descriptors, file, scalar(1))
    assert second.rest() is None  # it rests
    assert first.rest() is not None


@pytest.mark.parametrize("what", ["removed", "replaced", "a link"])
def test_a_file_that_is_gone_when_it_is_needed_is_told_and_followed_by_a_new_one(
    directories: list[RunDirectory], what: str, tmp_path: Path
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    append(descriptors, other, scalar(1))
    path = file.path
    assert path is not None
    path.unlink()
    if what == "replaced":
        path.touch()
    elif what == "a link":
        path.symlink_to(tmp_path / "elsewhere")
    append(descriptors, file, scalar(2))
    assert not (tmp_path / "elsewhere").exists()
    with descriptors.using(file), pytest.raises(SyncFailedError, match="removed or replaced"):
        file.sync()
    if what == "a link":
        path.unlink()
    assert steps(directories[0]) == [2]
    for one in (file, other):
        one.close()


def test_a_file_that_cannot_be_opened_again_waits(
    directories: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    append(descriptors, other, scalar(1))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="open files") as caught:
            append(descriptors, file, scalar(2))
        assert caught.value.errno == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    append(descriptors, file, scalar(2))
    assert steps(directories[0]) == [1, 2]
    for one in (file, other):
        one.close()


def test_too_many_directories_are_an_error_that_says_so() -> None:
    descriptors = Descriptors(2)
    descriptors.add_directory()
    descriptors.add_directory()
    with pytest.raises(OSError, match="ulimit -n") as caught:
        descriptors.add_directory()
    assert caught.value.errno == errno.EMFILE
    descriptors.remove_directory()
    descriptors.add_directory()


def test_threads_that_write_different_runs_take_each_others_descriptors(
    directories: list[RunDirectory],
) -> None:
    descriptors = Descriptors(2)
    files = [EventFile(directory) for directory in directories]

    def write(file: EventFile) -> None:
        for step in range(100):
            append(descriptors, file, scalar(step))

    threads = [threading.Thread(target=write, args=[file]) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    for file, directory in zip(files, directories, strict=True):
        assert steps(directory) == list(range(100))
        file.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.ESTALE])
def test_a_file_that_may_not_be_opened_again_is_told_and_followed_by_a_new_one(
    directories: list[RunDirectory], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    append(descriptors, other, scalar(1))
    assert file.path is not None
    name, open_file = file.path.name, os.open

    def refusing(path: str, *arguments: int, **options: int) -> int:
        if path == name:
            raise OSError(code, os.strerror(code))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    append(descriptors, file, scalar(2))
    assert file.path.name != name
    with descriptors.using(file), pytest.raises(SyncFailedError, match="are in doubt"):
        file.sync()
    monkeypatch.undo()
    assert steps(directories[0]) == [1, 2]
    for one in (file, other):
        descriptors.close(one)


def test_the_rest_of_an_append_to_a_file_that_may_not_be_opened_again_comes_once(
    directories: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    assert file.path is not None
    name, open_file, write = file.path.name, os.open, os.write
    size_bytes = len(scalar(2))

    def full(fd: int, data: memoryview) -> int:
        if len(data) < size_bytes:
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[: len(data) - size_bytes + 5])

    def refusing(path: str, *arguments: int, **options: int) -> int:
        if path == name:
            raise OSError(errno.EACCES, "refused")
        return open_file(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            append(descriptors, file, scalar(2) + scalar(3))
    append(descriptors, other, scalar(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        with descriptors.using(file):
            file.resume()
    assert steps(directories[0]) == [1, 2, 3]
    with pytest.raises(SyncFailedError, match="are in doubt"):
        descriptors.close(file)
    descriptors.close(other)


def test_a_file_may_be_closed_while_another_run_puts_it_to_rest(
    directories: list[RunDirectory], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    resting, closing, go_on = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []

    class SlowRest(RestingFile):
        def __init__(self, fd: int, name: str) -> None:
            resting.set()
            go_on.wait(60.0)
            super().__init__(fd, name)

    def write_other() -> None:
        append(descriptors, other, scalar(1))
        done.append("other")

    def close() -> None:
        closing.set()
        descriptors.close(file)
        done.append("close")

    monkeypatch.setattr(live_file, "RestingFile", SlowRest)
    threads = [threading.Thread(target=write_other), threading.Thread(target=close)]
    threads[0].start()
    assert resting.wait(60.0)
    threads[1].start()
    assert closing.wait(60.0)
    threads[1].join(0.2)
    assert done == []
    go_on.set()
    for thread in threads:
        thread.join(60.0)
    assert sorted(done) == ["close", "other"]
    assert open_files(tmp_path) == 1
    descriptors.close(other)
    assert steps(directories[1]) == [1]


def test_a_file_that_cannot_be_looked_at_before_it_rests_is_no_other_runs_trouble(
    directories: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = Descriptors(1)
    file, other = EventFile(directories[0]), EventFile(directories[1])
    append(descriptors, file, scalar(1))
    fstat = os.fstat
    first: list[int] = []

    def stale(fd: int) -> os.stat_result:
        if not first or fd == first[0]:
            first.append(fd)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        append(descriptors, other, scalar(1))
    assert first
    append(descriptors, file, scalar(2))
    with descriptors.using(file), pytest.raises(SyncFailedError, match="are in doubt"):
        file.sync()
    for one in (file, other):
        descriptors.close(one)
