"""What is known of a daemon before it has answered."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from boardd_client.transport.foreseen import takes_batches
from boardd_protos.address import TcpAddress, UnixAddress
from boardd_protos.socket_owner import SocketOwner, lock_path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SocketOwner(1, takes_batches=True).encode(), True),
        (SocketOwner(1).encode(), False),
        (b"1\n", False),  # as 0.1.0 writes it
    ],
)
def test_the_lock_file_says_whether_batches_are_taken(
    content: bytes, expected: bool, tmp_path: Path
) -> None:
    address = UnixAddress(tmp_path / "s")
    with open(lock_path(address.path), "wb") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert takes_batches(address) is expected
    assert takes_batches(address)  # it is gone, and the next one will be of this version


def test_a_daemon_over_tcp_is_not_known_to_take_batches() -> None:
    assert not takes_batches(TcpAddress("127.0.0.1", 1))
