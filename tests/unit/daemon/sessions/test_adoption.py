"""Which logs of dead clients are adopted, which are left alone and which are set aside."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.session.lifecycle import State
from boardd.runs.directories.logdir import Roots
from boardd.sessions import adoption as module
from boardd.sessions.adoption import MAX_SET_ASIDE, Adoption
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from boardd_protos.log_directory import SET_ASIDE_SUFFIX, log_directories, make_log_directory
from boardd_protos.log_file import DEFINITIONS_USED_OFFSET, LOG_HEADER_BYTES, encode_entry
from support.descriptors import descriptors_left
from support.service_reading import run_async
from support.shared_client import LOG_BYTES, log_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

#: Of a log, the offset of its version.
VERSION_OFFSET = 24


@contextlib.asynccontextmanager
async def opened(path: Path, budgets: Budgets | None = None) -> AsyncIterator[Sessions]:
    sessions = Sessions(Roots([path]), budgets or Budgets(), time.monotonic, 1.0)
    try:
        yield sessions
    finally:
        await sessions.close()


@pytest.fixture
def directory(runtime_directory: Path) -> Path:
    found = log_directories(runtime_directory / "boardd" / "s")[0]
    make_log_directory(found)
    return found


def place(
    directory: Path, number: int, *, version: int | None = None, logdirs: Sequence[Path] = ()
) -> Path:
    """The log of a session, with no records in it. Nobody else's lock is on it."""
    path = directory / bytes([number] * 16).hex()
    data = bytearray(log_of(bytes([number] * 16), path=str(path)))
    if version is not None:
        struct.pack_into("<I", data, VERSION_OFFSET, version)
    runs = [pb.RunDefinition(run=at, logdir=str(logdir)) for at, logdir in enumerate(logdirs, 1)]
    entry = b"".join(encode_entry(pb.Definitions(runs=[run]).SerializeToString()) for run in runs)
    start = LOG_HEADER_BYTES + LOG_BYTES
    data[start : start + len(entry)] = entry
    struct.pack_into("<Q", data, DEFINITIONS_USED_OFFSET, len(entry))
    path.write_bytes(data)
    return path


def is_adopted(sessions: Sessions, path: Path) -> bool:
    live = sessions.registry.get(bytes.fromhex(path.name))
    return live is not None and live.state is State.SALVAGING


def test_a_log_waits_until_there_is_room_for_its_session(tmp_path: Path, directory: Path) -> None:
    log = place(directory, 1)

    async def test(path: Path) -> None:
        async with opened(path, Budgets(max_sessions=1)) as sessions:
            other = sessions.open(pb.OpenRequest(session_id=bytes(16)))
            adoption = Adoption(sessions, [directory])
            await adoption.look()
            assert not is_adopted(sessions, log)
            assert log.exists()
            sessions.close_session(other)
            await adoption.look()
            assert is_adopted(sessions, log)
            await until(lambda: not log.exists())

    run_async(test, tmp_path)


def test_want_of_descriptors_is_not_held_against_a_log(tmp_path: Path, directory: Path) -> None:
    log = place(directory, 1)

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            adoption = Adoption(sessions, [directory])
            for count in range(2):
                with descriptors_left(count):
                    await adoption.look()
                assert not is_adopted(sessions, log)
                assert log.exists(), f"{count} descriptors"
            await adoption.look()
            assert is_adopted(sessions, log)
            await until(lambda: not log.exists())

    run_async(test, tmp_path)


def test_an_empty_log_is_no_news(
    tmp_path: Path, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = place(directory, 1)

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            await Adoption(sessions, [directory]).look()
            await until(lambda: not log.exists())

    run_async(test, tmp_path)
    assert not caplog.records


@pytest.mark.parametrize("trouble", ["missing", "not private", "no directory"])
def test_one_directory_that_cannot_be_used_hides_no_other(
    tmp_path: Path, directory: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = directory.with_name("first")
    if trouble == "not private":
        first.mkdir(0o755)
    elif trouble == "no directory":
        first.touch()
    log = place(directory, 1)

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            adoption = Adoption(sessions, [first, directory])
            await adoption.look()
            assert is_adopted(sessions, log)
            await adoption.look()

    run_async(test, tmp_path)
    told = [record.message for record in caplog.records if str(first) in record.message]
    assert len(told) == (trouble != "missing"), told
    assert first.exists() == (trouble != "missing")


def test_a_log_of_another_version_is_left_to_its_daemon(
    tmp_path: Path, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = [place(directory, number, version=99) for number in range(3)]

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            adoption = Adoption(sessions, [directory])
            await adoption.look()
            await adoption.look()
            assert not any(is_adopted(sessions, log) for log in logs)

    run_async(test, tmp_path)
    assert sorted(directory.iterdir()) == sorted(logs)
    (record,) = caplog.records
    assert "version 99 of the log" in record.message


def test_a_log_of_runs_that_lie_elsewhere_is_left_to_a_daemon_that_writes_there(
    tmp_path: Path, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    (tmp_path / "link").symlink_to(here)
    foreign = [place(directory, number, logdirs=[elsewhere] * number) for number in (1, 2)]
    own = [place(directory, 3, logdirs=[elsewhere, here]), place(directory, 4)]
    own.append(place(directory, 5, logdirs=[tmp_path / "link" / "run"]))

    async def test(path: Path) -> None:
        async with opened(here) as sessions:
            adoption = Adoption(sessions, [directory])
            await adoption.look()
            await adoption.look()
            await until(lambda: not any(log.exists() for log in own))
        assert all(log.exists() for log in foreign)
        (record,) = caplog.records
        assert f"is of runs outside {here}, and is left" in record.message
        async with opened(path) as sessions:
            await Adoption(sessions, [directory]).look()
            await until(lambda: not any(log.exists() for log in foreign))

    run_async(test, tmp_path)


def test_a_path_that_no_file_has_hides_no_log(tmp_path: Path, directory: Path) -> None:
    bad = place(directory, 1)
    name = os.fsencode(bad.name)
    bad.write_bytes(bad.read_bytes().replace(name, b"\0" + name[1:], 1))

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            adoption = Adoption(sessions, [directory])
            before = len(os.listdir("/proc/self/fd"))
            await adoption.look()
            assert not bad.exists()
            await until(lambda: len(os.listdir("/proc/self/fd")) == before)
            log = place(directory, 2)
            await adoption.look()
            assert is_adopted(sessions, log)

    run_async(test, tmp_path)


def test_what_is_set_aside_is_bounded_and_hides_no_log(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2 * MAX_SET_ASIDE):
        noise = directory / f"{number}"
        noise.write_bytes(b"x")
        os.utime(noise, (number, number))

    async def test(path: Path) -> None:
        async with opened(path) as sessions:
            adoption = Adoption(sessions, [directory])
            await adoption.look()
            kept = {file.name for file in directory.iterdir()}
            assert len(kept) == MAX_SET_ASIDE
            assert all(name.endswith(SET_ASIDE_SUFFIX) for name in kept)
            monkeypatch.setattr(module, "_MAX_FILES", 1)
            log = place(directory, 1)
            await adoption.look()
            assert is_adopted(sessions, log)

    run_async(test, tmp_path)
