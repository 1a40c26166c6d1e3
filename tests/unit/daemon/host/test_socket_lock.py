"""One owner for a socket, in a directory that is the user's alone."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from boardd.errors import AddressTakenError, CommandError, ConfigError, ExitCode
from boardd.host.socket_lock import SocketLock, ensure_private_directory
from boardd_protos.local_socket import accepts_connections
from boardd_protos.socket_owner import SocketOwner, lock_path, socket_owner


@pytest.fixture
def socket_path(runtime_directory: Path) -> Path:
    return runtime_directory / "s"


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()
    return listener


def serve(lock: SocketLock) -> socket.socket:
    listener = listen(lock.bind_path)
    lock.publish()
    return listener


def test_a_directory_that_others_reach_ends_the_command(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=r"has mode 0755.*choose another --socket"):
        ensure_private_directory(tmp_path)


def test_the_lock_is_exclusive_and_names_its_holder(socket_path: Path) -> None:
    with SocketLock(socket_path) as lock, serve(lock):
        assert socket_owner(socket_path) == SocketOwner(os.getpid())
        assert lock_path(socket_path).stat().st_mode & 0o777 == 0o600
        with pytest.raises(
            AddressTakenError, match=rf"\(pid {os.getpid()}\) has {socket_path}"
        ) as e:
            SocketLock(socket_path)
        assert e.value.exit_code == ExitCode.ADDRESS_TAKEN
    assert not lock_path(socket_path).exists()
    assert not socket_path.exists()
    SocketLock(socket_path).release()


AUTOSTARTED = SocketOwner(1, is_autostarted=True)
SERVICE = SocketOwner(2, roots=("/logs",))


def test_a_daemon_that_a_client_started_makes_room_for_any_other(socket_path: Path) -> None:
    with SocketLock(socket_path, AUTOSTARTED) as holder, serve(holder):
        ended: list[Path] = []

        def end(path: Path) -> None:
            ended.append(path)
            holder.remove_socket()
            holder.release()

        with pytest.raises(AddressTakenError):
            SocketLock(socket_path, AUTOSTARTED, end_daemon=end)
        with pytest.raises(AddressTakenError, match="take its place with --logdir-root"):
            SocketLock(socket_path, SERVICE)
        assert not ended
        with SocketLock(socket_path, SERVICE, end_daemon=end) as lock, serve(lock):
            assert ended == [socket_path]
            assert socket_owner(socket_path) == SERVICE
            for other in (AUTOSTARTED, SERVICE):
                with pytest.raises(AddressTakenError):
                    SocketLock(socket_path, other, end_daemon=end)
            assert ended == [socket_path]


def test_one_that_does_not_make_room_is_an_error_of_its_own(socket_path: Path) -> None:
    """A service manager tries it again, other than with an address that another service has."""

    def fail(path: Path) -> None:
        raise CommandError("it is stopped")

    with (
        SocketLock(socket_path, AUTOSTARTED) as holder,
        serve(holder),
        pytest.raises(CommandError, match="it is stopped") as raised,
    ):
        SocketLock(socket_path, SERVICE, end_daemon=fail)
    assert raised.value.exit_code == ExitCode.FAILED


def test_one_that_neither_serves_nor_leaves_is_such_an_error_too(socket_path: Path) -> None:
    with (
        SocketLock(socket_path, AUTOSTARTED),
        pytest.raises(CommandError, match="neither serve nor leave") as raised,
    ):
        SocketLock(socket_path, SERVICE, handover_secs=0.1, end_daemon=lambda path: None)
    assert raised.value.exit_code == ExitCode.FAILED


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


def test_a_service_managers_socket_gets_its_place_back(socket_path: Path) -> None:
    with listen(socket_path) as manager:
        manager.setblocking(False)
        for killed in (False, True, False):  # one that is killed gives nothing back
            lock = SocketLock(socket_path)
            with serve(lock) as listener, socket.socket(socket.AF_UNIX) as client:
                client.connect(os.fspath(socket_path))
                listener.accept()[0].close()
                if not killed:
                    lock.remove_socket()
            lock.release()
        with contextlib.suppress(BlockingIOError):
            while True:  # what has asked whether somebody listens
                manager.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(socket_path))
            manager.accept()[0].close()
    assert [path.name for path in socket_path.parent.iterdir()] == [socket_path.name]


def test_a_socket_that_took_the_place_meanwhile_stays(socket_path: Path) -> None:
    with SocketLock(socket_path) as lock, serve(lock):
        socket_path.unlink()
        manager = listen(socket_path)
    with manager:
        assert accepts_connections(socket_path)
