"""What is known of a daemon before it has answered."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest
from boardd_client.transport.foreseen import revision
from boardd_protos import REVISION
from boardd_protos.address import TcpAddress, UnixAddress
from boardd_protos.socket_owner import SocketOwner, lock_path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SocketOwner(1, revision=3).encode(), 3),
        (SocketOwner(1).encode(), 0),
        (b"1\n", 0),  # as 0.1.0 writes it
    ],
)
def test_the_lock_file_says_what_its_daemon_understands(
    content: bytes, expected: int, tmp_path: Path
) -> None:
    address = UnixAddress(tmp_path / "s")
    with open(lock_path(address.path), "wb") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert revision(address) == expected


def test_a_daemon_that_is_started_is_known_if_it_is_of_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = UnixAddress(tmp_path / "s")
    monkeypatch.delenv("BOARDD_COMMAND", raising=False)
    monkeypatch.delenv("BOARDD_AUTOSTART", raising=False)
    assert revision(address) == REVISION
    monkeypatch.setenv("BOARDD_COMMAND", "true")  # perhaps of another version
    assert revision(address) == 0
    monkeypatch.delenv("BOARDD_COMMAND")
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    assert revision(address) == 0
    monkeypatch.delenv("BOARDD_AUTOSTART")
    with socket.socket(socket.AF_UNIX) as listener:  # nobody here has the lock
        listener.bind(str(address.path))
        listener.listen()
        assert revision(address) == 0


def test_of_a_daemon_over_tcp_nothing_is_known() -> None:
    assert revision(TcpAddress("127.0.0.1", 1)) == 0
