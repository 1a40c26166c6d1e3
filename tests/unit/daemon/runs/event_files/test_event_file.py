from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.events import event
from boardd.events.values import scalar_value
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.event_file import EventFile, SyncFailedError
from boardd.runs.event_files.event_file_names import EventFileNames
from boardd_protos import boardd_pb2 as pb
from support.tensorboard_reader import event_files, read_events
from support.tfrecords import read_records

NOW = 1_700_000_000.75


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    with Roots([tmp_path]).open_run("run") as run:
        yield run


def writer(directory: RunDirectory, now: float = NOW, suffix: str = "") -> EventFile:
    return EventFile(directory, filename_suffix=suffix, hostname="host", clock=lambda: now)


def scalar(step: int) -> bytes:
    return event.summary(NOW, step, scalar_value("loss", step / 8))


def names(directory: RunDirectory) -> list[str]:
    return [path.name for path in event_files(directory.path)]


def steps(directory: RunDirectory) -> list[int]:
    return [read.step for read in read_events(directory.path) if read.HasField("summary")]


def test_no_file_before_the_first_append(directory: RunDirectory) -> None:
    events = writer(directory)
    events.append(b"")
    events.sync()
    events.close()
    assert events.path is None
    assert os.listdir(directory.fd) == []


def test_file_opens_with_its_version(directory: RunDirectory) -> None:
    events = writer(directory, suffix=".v2")
    events.append(scalar(1))
    assert names(directory) == ["events.out.tfevents.1700000000.host.v2"]
    assert events.path == directory.path / names(directory)[0]
    assert events.path.read_bytes() == event.file_version(NOW) + scalar(1)
    first, second = read_events(directory.path)
    assert (first.wall_time, first.file_version) == (NOW, "brain.Event:2")
    assert (second.step, second.summary.value[0].simple_value) == (1, 0.125)
    events.close()


def test_appended_events_can_be_read_at_once(directory: RunDirectory) -> None:
    events = writer(directory)
    for step in range(20):
        events.append(scalar(step))
        assert steps(directory) == list(range(step + 1))
    events.close()


def test_an_append_adds_its_bytes_and_nothing_else(directory: RunDirectory) -> None:
    events = writer(directory)
    events.append(scalar(1))
    assert events.path is not None
    size_bytes = events.path.stat().st_size
    events.append(scalar(2))
    assert events.path.stat().st_size == size_bytes + len(scalar(2))
    assert events.pending_bytes == 0
    events.close()


def test_each_writer_begins_a_file_that_sorts_last(directory: RunDirectory) -> None:
    for step in range(12):
        events = writer(directory, suffix=[".y", ".x", ""][step % 3])
        events.append(scalar(step))
        events.close()
    assert [name.split(".")[3] for name in names(directory)] == [
        str(1_700_000_000 + second) for second in range(12)
    ]
    assert steps(directory) == list(range(12))


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        # the clock was set back
        ("events.out.tfevents.1800000000.other", "events.out.tfevents.1800000001.host"),
        ("events.out.tfevents.1699999999.zzz", "events.out.tfevents.1700000000.host"),
        ("events.out.tfevents.1700000000.host.5.v2", "events.out.tfevents.1700000001.host"),
        # TensorBoard reads every name with this mark in it, and sorts them as text
        ("eval.tfevents.1", "events.out.tfevents.1700000000.host"),
        ("train.tfevents.1", "train.tfevents.1.1.host"),
        ("events.out.tfevents.9999999999.x", "events.out.tfevents.9999999999.x.1.host"),
        ("events.out.tfevents.17000000009.x", "events.out.tfevents.1700000001.host"),
        ("events.out.tfevents.soon", "events.out.tfevents.soon.1.host"),
        ("zzz", "events.out.tfevents.1700000000.host"),
    ],
)
def test_name_sorts_after_every_event_file(
    directory: RunDirectory, existing: str, expected: str
) -> None:
    (directory.path / existing).touch()
    events = writer(directory)
    events.append(scalar(1))
    assert events.path is not None
    assert events.path.name == expected
    assert names(directory)[-1] == expected
    assert steps(directory) == [1]
    events.close()


LONGEST = 255


@pytest.mark.parametrize(
    "existing",
    [
        "events.out.tfevents.9999999999".ljust(LONGEST, "x"),
        "train.tfevents~~~".ljust(LONGEST, "0"),
        "ä.tfevents.1".ljust(LONGEST - 1, "z"),
    ],
    ids=["digits", "middle", "two bytes"],
)
@pytest.mark.parametrize("suffix", ["", ".mine"])
def test_a_name_that_leaves_no_room_is_followed_by_a_shorter_one(
    directory: RunDirectory, existing: str, suffix: str
) -> None:
    (directory.path / existing).touch()
    for step in range(3):
        events = writer(directory, suffix=suffix)
        events.append(scalar(step))
        assert events.path is not None
        assert names(directory)[-1] == events.path.name
        assert events.path.name.endswith(f".host{suffix}")
        events.close()
        assert steps(directory) == list(range(step + 1))


def test_a_name_without_a_follower_refuses_the_run(directory: RunDirectory) -> None:
    (directory.path / ("tfevents".ljust(LONGEST, "~")[:-1] + "x")).touch()
    with pytest.raises(RefusedError, match="rename") as caught:
        writer(directory)
    assert caught.value.reason == pb.INVALID_NAME


def test_a_name_without_a_follower_holds_a_live_run_up(directory: RunDirectory) -> None:
    events = writer(directory)
    last = directory.path / "~tfevents".ljust(LONGEST, "~")
    last.touch()
    with pytest.raises(OSError, match="rename"):
        events.append(scalar(1))
    last.rename(directory.path / "old")
    events.resume()
    events.close()
    assert steps(directory) == [1]


def test_a_link_with_the_name_is_not_followed(directory: RunDirectory, tmp_path: Path) -> None:
    link = directory.path / "events.out.tfevents.1700000000.host"
    link.symlink_to(tmp_path / "elsewhere")
    events = writer(directory)
    events.append(scalar(1))
    events.close()
    assert not (tmp_path / "elsewhere").exists()
    assert names(directory)[-1] == "events.out.tfevents.1700000001.host"


def test_old_files_are_never_touched(directory: RunDirectory) -> None:
    old = directory.path / "events.out.tfevents.1600000000.host"
    old.write_bytes(event.file_version(1.0) + scalar(1)[:-3])  # a torn tail
    before = old.read_bytes()
    events = writer(directory)
    events.append(scalar(1))
    events.close()
    assert old.read_bytes() == before
    assert steps(directory) == [1]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o000, 0o666)])
def test_mode_follows_the_umask(directory: RunDirectory, umask: int, mode: int) -> None:
    events = writer(directory)
    old = os.umask(umask)
    try:
        events.append(scalar(1))
    finally:
        os.umask(old)
    assert events.path is not None
    assert stat.S_IMODE(events.path.stat().st_mode) == mode
    events.close()


@pytest.mark.parametrize("suffix", ["/x", "a/../../b", "\0", "s" * 240, "\ud800"])
def test_suffix_must_fit_a_file_name(directory: RunDirectory, suffix: str) -> None:
    with pytest.raises(RefusedError, match="filename_suffix") as caught:
        writer(directory, suffix=suffix)
    assert caught.value.reason == pb.INVALID_NAME


@pytest.mark.parametrize(
    ("host", "suffix"), [("gpu1.lab.se", "rvice"), ("gpu.s", "O"), ("c", "onf")]
)
def test_a_suffix_that_makes_a_loaded_type_of_the_host_is_refused(host: str, suffix: str) -> None:
    with pytest.raises(RefusedError, match=r"filename_suffix .* begin it with '_'") as caught:
        EventFileNames(suffix, host)
    assert caught.value.reason == pb.INVALID_NAME
    EventFileNames(f"_{suffix}", host)


def test_a_host_that_ends_in_a_loaded_type_does_not_end_the_name(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    for host, end in (("x.example.pl", "x.example.pl_"), ("node", "node_"), ("gpu", "gpu")):
        name = EventFileNames("", host).next(directory, NOW)
        assert name.endswith(f".{end}")
    name = EventFileNames(".v2", "x.example.pl").next(directory, NOW)
    assert name.endswith(".x.example.pl.v2")
    os.close(directory)


def test_closed_writer_takes_no_more(directory: RunDirectory) -> None:
    events = writer(directory)
    events.append(scalar(1))
    events.close()
    events.close()
    with pytest.raises(RuntimeError, match="after close"):
        events.append(scalar(2))
    assert steps(directory) == [1]


def test_closing_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with Roots([tmp_path]).open_run("run") as directory:
        events = writer(directory)
        events.append(scalar(1))
        events.sync()
        events.close()
    assert os.listdir("/proc/self/fd") == before


def test_removed_directory_is_an_error_that_names_the_file(directory: RunDirectory) -> None:
    directory.path.rmdir()
    events = writer(directory)
    with pytest.raises(FileNotFoundError) as caught:
        events.append(scalar(1))
    assert caught.value.filename == str(directory.path / "events.out.tfevents.1700000000.host")
    assert events.pending_bytes == len(scalar(1))
    with pytest.raises(RuntimeError, match="resume"):
        events.append(scalar(2))
    events.close()
    assert events.pending_bytes == 0


def test_file_is_records_and_nothing_else(directory: RunDirectory) -> None:
    events = writer(directory)
    events.append(b"".join(map(scalar, range(50))))
    assert events.path is not None
    assert len(list(read_records(events.path.read_bytes()))) == 51
    events.close()


def test_a_file_that_its_server_forgot_is_told_and_followed_by_a_new_one(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = writer(directory)
    events.append(scalar(1))
    events.sync()
    first = events.path
    assert first is not None
    size_bytes = first.stat().st_size

    def stale(*_: object) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        first.unlink()  # on another host
        patch.setattr(os, "fstat", stale)
        events.append(scalar(2))
    with pytest.raises(SyncFailedError, match=f"{size_bytes} bytes are in doubt"):
        events.sync()
    events.append(scalar(3))
    events.sync()
    assert events.path != first
    assert steps(directory) == [2, 3]
    events.close()


def test_close_tells_what_no_sync_has_told(directory: RunDirectory) -> None:
    events = writer(directory)
    events.append(scalar(1))
    assert events.path is not None
    events.path.unlink()
    events.append(scalar(2))
    with pytest.raises(SyncFailedError, match="removed or replaced"):
        events.close()
    events.close()


def test_a_file_that_was_ended_is_synced_and_takes_no_more(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = writer(directory)
    events.end_file()  # there is none
    events.append(scalar(1))
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        events.end_file()
    assert synced
    assert events.path is None
    events.append(scalar(2))
    assert len(names(directory)) == 2
    assert steps(directory) == [1, 2]
    events.close()


def test_a_file_that_was_ended_and_could_not_be_synced_is_told(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = writer(directory)
    events.append(scalar(1))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        events.end_file()
    with pytest.raises(SyncFailedError):
        events.sync()
    events.close()
