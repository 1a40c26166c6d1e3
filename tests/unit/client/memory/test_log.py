"""The log of a session: where its file lies, who finds it, and when it goes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_client.memory.log import DEFINITIONS_BYTES, Log, make_log
from boardd_protos.log_directory import is_tmpfs, is_tmpfs_path, is_trusted, log_directories
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
    return log_directories(runtime_directory / "s")[0]


def is_locked(path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", LOCK, path], stderr=-3, check=False).returncode > 0


def test_a_named_log_is_found_whole_and_locked(runtime_directory: Path) -> None:
    directory = directory_of(runtime_directory)
    log = made([directory])
    (path,) = directory.iterdir()
    assert path.name == SESSION_ID.hex()
    assert is_trusted(directory)
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


def test_what_is_not_shared_is_private() -> None:
    log = make_log(SESSION_ID, LOG_BYTES, directories=(), is_shared=False)
    assert (log.fd, log.definitions, log.tail_words) == (-1, None, None)
    assert len(log.ring) == LOG_BYTES
