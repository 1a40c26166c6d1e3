"""Who may listen on the socket that a client connects to."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client.transport.connection import ConnectionFailedError
from boardd_client.transport.listener import check_listener
from boardd_protos import address
from boardd_protos.address import UnixAddress
from support.tools import require_root

US, SOMEBODY = 12345, 12346


@contextlib.contextmanager
def acting_as(user: int) -> Iterator[None]:
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def listening(user: int, path: Path) -> Iterator[UnixAddress]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        path.chmod(0o666)
        with acting_as(user):
            listener.listen()
        yield UnixAddress(path)


@pytest.fixture
def shared_directory(runtime_directory: Path) -> Path:
    """One in which anybody may put sockets, as in /tmp."""
    require_root()
    runtime_directory.chmod(0o755)
    directory = runtime_directory / "shared"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


@pytest.mark.parametrize(("user", "is_trusted"), [(US, True), (0, True), (SOMEBODY, False)])
def test_on_a_named_socket_this_user_or_root_must_listen(
    user: int, is_trusted: bool, shared_directory: Path
) -> None:
    with listening(user, shared_directory / "s") as where:
        check_listener(where)  # root may use anyone's
        with acting_as(US):
            if is_trusted:
                check_listener(where)
                return
            with pytest.raises(ConnectionFailedError, match=f"user {SOMEBODY} listens") as caught:
                check_listener(where)
    assert caught.value.code == "PERMISSION_DENIED"


def test_the_users_own_socket_is_used_in_a_private_directory_only(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_root()
    directory = runtime_directory / "boardd"
    directory.mkdir(0o700)
    where = UnixAddress(directory / "boardd.sock")
    monkeypatch.setattr(address, "default_address", lambda: where)
    check_listener(where)
    os.chown(directory, SOMEBODY, -1)
    with pytest.raises(ConnectionFailedError, match=f"belongs to user {SOMEBODY}"):
        check_listener(where)
    os.chown(directory, 0, -1)
    directory.chmod(0o755)
    with pytest.raises(ConnectionFailedError, match=f"chmod 700 {directory}") as caught:
        check_listener(where)
    assert caught.value.code == "PERMISSION_DENIED"
    directory.rmdir()
    check_listener(where)  # there is nobody to be mistrusted
