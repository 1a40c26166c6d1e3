"""The log of a session: where its file lies, who finds it, and when it goes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boardd_client.memory.log import DEFINITIONS_BYTES, Log, make_log
from boardd_protos.log_directory import (
    FORGOTTEN_SECS,
    SET_ASIDE_SUFFIX,
    check_log_directory,
    is_tmpfs,
    is_tmpfs_path,
    log_directories,
)
from boardd_protos.log_file import LogHeader, decode_entries, decode_words

SESSION_ID = bytes(range(16))
LOG_BYTES = 1 << 16
LOCK = (
    "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR);"
    "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"
)


def made(directories: list[Path]) -> Log:
    return make_log(SESSION_ID, LOG_BYTES, directories=directories, program="p", is_shared=True)


def directory_of(runtime_directory: Path) -> Path:
    return log_directories(runtime_directory / "boardd" / "s")[0]


def is_locked(path: Path) -> bool:
    return (
        subprocess.run(
            [sys.executable, "-c", LOCK, path], stderr=-3, check=False, timeout=120
        ).returncode
        > 0
    )


def test_a_named_log_is_found_whole_and_locked(runtime_directory: Path) -> None:
    directory = directory_of(runtime_directory)
    log = made([directory])
    (path,) = directory.iterdir()
    assert path.name == SESSION_ID.hex()
    check_log_directory(directory)
    assert is_locked(path)
    header = LogHeader.decode(path.read_bytes()[:4096])
    assert (header.session_id, header.pid, header.program) == (SESSION_ID, os.getpid(), "p")
    assert header.path == str(path)
    assert header.log_bytes == len(log.ring) == LOG_BYTES
    log.release()
    assert not is_locked(path), "a process that ends lets go of its lock"


def test_a_child_neither_holds_the_lock_nor_removes_the_log(runtime_directory: Path) -> None:
    directory = directory_of(runtime_directory)
    log = made([directory])
    (path,) = directory.iterdir()
    child = os.fork()
    if not child:
        log.remove()
        log.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
    assert is_locked(path)
    log.remove()
    assert not path.exists()
    log.release()


def test_the_tail_and_definitions_are_read_by_others(runtime_directory: Path) -> None:
    log = made([directory_of(runtime_directory)])
    assert log.tail_words is not None
    assert log.definitions is not None
    log.ring[:4] = b"ring"
    log.tail_words[0], log.tail_words[1] = 7, 48
    long = b"x" * 200_000  # more memory than is there from the start
    assert log.definitions.append(b"one")
    assert log.definitions.append(long)
    data = os.pread(log.fd, 1 << 20, 0)
    header = LogHeader.decode(data)
    words = decode_words(data, header)
    assert words[:2] == (7, 48)
    assert data[header.log_offset :][:4] == b"ring"
    kept = os.pread(log.fd, words.definitions_used, header.definitions_offset)
    assert list(decode_entries(kept)) == [b"one", long]
    assert not log.definitions.append(b"x" * DEFINITIONS_BYTES)
    log.remove()
    log.release()
    assert not log.definitions.append(b"late")


def test_without_a_tmpfs_the_log_has_no_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not is_tmpfs_path(tmp_path), "the test needs a disk"
    directory = tmp_path / "boardd" / "log" / "key"
    log = made([directory])
    assert not log.path
    assert log.is_shared
    assert is_tmpfs(log.fd)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{tmp_path} is not on a tmpfs" in record.message
    assert not directory.parent.parent.exists()
    log.release()


def test_the_next_directory_is_tried(runtime_directory: Path, tmp_path: Path) -> None:
    log = made([tmp_path / "boardd" / "log" / "key", directory_of(runtime_directory)])
    assert Path(log.path).parent == directory_of(runtime_directory)
    log.remove()
    log.release()


def test_a_directory_that_others_reach_into_is_not_used(
    runtime_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = directory_of(runtime_directory).parent.parent
    base.mkdir(0o755)
    log = made([directory_of(runtime_directory)])
    assert not log.path
    assert "has mode 0755" in caplog.text
    log.release()


def test_two_sockets_have_two_directories(runtime_directory: Path) -> None:
    directories = {log_directories(runtime_directory / name)[0] for name in "ab"}
    assert len(directories) == 2
    (runtime_directory / "link").symlink_to(runtime_directory)
    real, linked = (
        log_directories(at / "x" / "s") for at in (runtime_directory, runtime_directory / "link")
    )
    assert real == linked


def test_the_directories_depend_on_the_socket_alone(
    runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, shared = log_directories(runtime_directory / "boardd" / "s")
    assert beside.parent == runtime_directory / "boardd" / "log"
    for other in (None, str(tmp_path), "/nonexistent"):
        if other is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR")
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", other)
        assert log_directories(runtime_directory / "boardd" / "s") == [beside, shared]


def test_a_lock_that_the_process_gave_up_is_taken_again(runtime_directory: Path) -> None:
    log = made([directory_of(runtime_directory)])
    assert is_locked(Path(log.path))
    os.utime(log.path, (0, 0))
    Path(log.path).read_bytes()  # an open and a close, in this process
    assert not is_locked(Path(log.path))
    assert not log.hold()
    assert is_locked(Path(log.path))
    assert os.stat(log.path).st_mtime > 0
    os.unlink(log.path)
    assert "was removed" in log.hold()
    assert not log.hold(), "it is told again"
    log.release()


def test_definitions_that_find_no_room_are_told_of_once(runtime_directory: Path) -> None:
    log = made([directory_of(runtime_directory)])
    assert log.definitions is not None
    assert log.definitions.append(b"x")
    assert not log.definitions.trouble
    for _ in range(2):
        assert not log.definitions.append(b"x" * DEFINITIONS_BYTES)
    assert "no memory to keep more definitions" in log.definitions.trouble
    log.definitions.trouble = ""
    assert not log.definitions.append(b"x" * DEFINITIONS_BYTES)
    assert not log.definitions.trouble
    log.remove()
    log.release()


def test_what_no_daemon_looks_for_is_removed_after_days(
    runtime_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def placed(name: str, age_secs: float) -> Path:
        directory = log_directories(runtime_directory / "boardd" / name)[0]
        directory.mkdir(0o700, parents=True, exist_ok=True)
        path = directory / f"{age_secs:032.0f}"
        path.write_bytes(b"x")
        long_ago = time.time() - age_secs
        os.utime(path, (long_ago, long_ago))
        os.utime(directory, (long_ago, long_ago))
        return path

    (runtime_directory / "boardd").mkdir(0o700)
    (runtime_directory / "boardd" / "log").mkdir(0o700)
    old = placed("old", FORGOTTEN_SECS + 60)
    aside = placed("aside", FORGOTTEN_SECS + 90)
    aside = aside.rename(aside.with_suffix(SET_ASIDE_SUFFIX))
    os.utime(aside.parent, (0, 0))
    young = placed("young", FORGOTTEN_SECS - 60)
    own = placed("s", FORGOTTEN_SECS + 60)
    held = placed("held", FORGOTTEN_SECS + 60)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{LOCK}; print(1, flush=True); input()", held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    log = made([directory_of(runtime_directory)])
    log.remove_forgotten()
    assert not old.parent.exists()
    assert not aside.parent.exists()
    assert young.exists()
    assert own.exists(), "its daemon adopts it"
    assert held.exists(), "its client lives"
    (record,) = caplog.records
    assert "removed 2 logs that no daemon had looked for" in record.message
    holder.communicate(timeout=120)
    log.remove()
    log.release()


def test_what_is_not_shared_is_private() -> None:
    log = make_log(SESSION_ID, LOG_BYTES, directories=(), is_shared=False)
    assert (log.fd, log.definitions, log.tail_words) == (-1, None, None)
    assert len(log.ring) == LOG_BYTES
