"""One owner for a socket, in a directory that is the user's alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from boardd.errors import AddressTakenError, ConfigError, ExitCode
from boardd.host.socket_lock import SocketLock, ensure_private_directory, lock_path
from boardd_protos.local_socket import accepts_connections


@pytest.fixture
def socket_path(runtime_directory: Path) -> Path:
    return runtime_directory / "s"


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()
    return listener


def test_a_directory_that_others_reach_ends_the_command(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=r"has mode 0755.*choose another --socket"):
        ensure_private_directory(tmp_path)


def test_the_lock_is_exclusive_and_names_its_holder(socket_path: Path) -> None:
    with SocketLock(socket_path), listen(socket_path):
        assert lock_path(socket_path).read_text() == f"{os.getpid()}\n"
        assert lock_path(socket_path).stat().st_mode & 0o777 == 0o600
        with pytest.raises(
            AddressTakenError, match=rf"\(pid {os.getpid()}\) has {socket_path}"
        ) as e:
            SocketLock(socket_path)
        assert e.value.exit_code == ExitCode.ADDRESS_TAKEN
    assert not lock_path(socket_path).exists()
    assert not socket_path.exists()
    SocketLock(socket_path).release()


def test_two_sockets_of_one_directory_are_independent(runtime_directory: Path) -> None:
    with SocketLock(runtime_directory / "a"), SocketLock(runtime_directory / "b"):
        pass


def test_a_holder_that_serves_nothing_is_waited_for(socket_path: Path) -> None:
    first = SocketLock(socket_path)
    leaving = threading.Timer(0.2, first.release)
    leaving.start()
    SocketLock(socket_path, handover_secs=30).release()
    leaving.join()


def test_a_holder_that_serves_nothing_is_not_waited_for_for_ever(socket_path: Path) -> None:
    with SocketLock(socket_path), pytest.raises(AddressTakenError, match="another boardd"):
        SocketLock(socket_path, handover_secs=0.1)


def test_a_killed_holder_leaves_nothing_in_the_way(socket_path: Path) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path;"
        "from boardd.host.socket_lock import SocketLock;"
        "import socket; lock = SocketLock(Path(sys.argv[1]));"
        "s = socket.socket(socket.AF_UNIX); s.bind(str(lock.bind_path)); s.listen();"
        "lock.publish(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(socket_path)], check=False, timeout=120)
    assert socket_path.exists()
    assert not accepts_connections(socket_path)
    with SocketLock(socket_path) as lock:
        with listen(lock.bind_path):
            lock.publish()
            assert accepts_connections(socket_path)
        assert not lock.bind_path.exists()


def test_exactly_one_of_many_gets_the_lock(socket_path: Path) -> None:
    """The lock file is removed on release: a contender must not hold a removed one."""
    holders = 0
    most = 0
    rounds = 0
    guard = threading.Lock()

    def contend() -> None:
        nonlocal holders, most, rounds
        for _ in range(50):
            lock = SocketLock(socket_path, handover_secs=30)
            with guard:
                holders += 1
                rounds += 1
                most = max(most, holders)
            with guard:
                holders -= 1
            lock.release()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, rounds) == (1, 200)


def test_the_lock_file_is_not_followed_out_of_the_directory(
    socket_path: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock_path(socket_path).symlink_to(victim)
    with pytest.raises(ConfigError, match="cannot open the lock file"):
        SocketLock(socket_path)
    assert victim.read_text() == "precious"
