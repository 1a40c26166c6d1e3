"""Who owns a socket, from its lock file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from boardd_protos.socket_owner import (
    SocketOwner,
    has_remains,
    lock_holder,
    lock_path,
    socket_owner,
)

OWNER = SocketOwner(
    pid=7,
    is_autostarted=True,
    roots=("/runs", "/mnt/a b:c\nd"),
    left_alone=("/etc",),
    revision=3,
)


def test_an_owner_is_known_as_long_as_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert socket_owner(path) is None
    assert not has_remains(path)
    with open(lock_path(path), "wb") as file:
        file.write(OWNER.encode())
        file.flush()
        assert socket_owner(path) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        assert socket_owner(path) == OWNER
    assert socket_owner(path) is None
    assert has_remains(path)


def told(roots: str) -> bytes:
    return b'{"pid": 1, "is_autostarted": true, "roots": %b}' % roots.encode()


def test_a_daemon_may_say_less() -> None:
    assert SocketOwner.decode(told('["/a"]')) == SocketOwner(1, True, ("/a",))
    assert SocketOwner.decode(b"123\n") == SocketOwner(123)  # as 0.1.0 says it


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"0\n",
            b"-1",
            b"true",
            b"1.5",
            b"{}",
            b'{"pid": 1}',
            b"\xff",
            b"[1, 2]",
            b"[" * 100_000,
        ),
        *map(told, ('"/abc"', '["a"]', "[1]", "{}")),
        told("[]").replace(b"1", b"1e999"),
    ],
    ids=range(15),
)
def test_of_what_says_nothing_nothing_is_known(content: bytes, tmp_path: Path) -> None:
    assert SocketOwner.decode(content) == SocketOwner()


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(lock_path(tmp_path / "s"))
    assert socket_owner(tmp_path / "s") is None


@pytest.mark.parametrize("is_seen", [True, False])
def test_the_holder_is_the_process_that_has_the_lock_open(is_seen: bool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert lock_holder(path) is None
    # A daemon in another pid namespace says a number that is another process's here.
    pid = os.getpid() if is_seen else os.getppid()
    with open(lock_path(path), "wb") as file:
        file.write(SocketOwner(pid).encode())
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(path) == (pid if is_seen else None)
