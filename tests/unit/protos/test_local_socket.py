"""What both ends ask of a Unix socket: a private directory, a listener, a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_protos.local_socket import (
    DirectoryRefusedError,
    ForeignSocketError,
    accepts_connections,
    check_peer,
    directory_obstacle,
    ensure_private_directory,
    has_ended,
    open_process,
    peer_credentials,
)
from support.tools import require_root


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_a_directory_is_made_for_this_user_alone_under_any_umask(mask: int, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    before = os.umask(mask)
    try:
        ensure_private_directory(directory)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o7777 == 0o700
    ensure_private_directory(directory)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777, 0o1777])
def test_a_directory_that_others_reach_is_refused(mode: int, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(
        DirectoryRefusedError, match=f"has mode {mode:04o}.*such as {directory}/boardd-"
    ):
        ensure_private_directory(directory)
    assert directory.stat().st_mode & 0o7777 == mode, "it must not be changed behind the user"


def test_only_a_directory_of_boardds_own_is_told_to_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own, sources = tmp_path / "boardd", tmp_path / "sources" / "boardd"
    for directory, cure in ((own, f"run: chmod 700 {own}"), (sources, "use one of its own")):
        directory.mkdir(0o755, parents=True)
        with pytest.raises(DirectoryRefusedError, match=cure):
            ensure_private_directory(directory)


def test_what_is_no_directory_of_ours_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    ensure_private_directory(real)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(DirectoryRefusedError, match="link is a symlink or no directory"):
        ensure_private_directory(tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DirectoryRefusedError, match="dangling is a symlink or no directory"):
        ensure_private_directory(tmp_path / "dangling")
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryRefusedError, match="file is a symlink or no directory"):
        ensure_private_directory(tmp_path / "file")
    with pytest.raises(DirectoryRefusedError, match="missing/d cannot be made: No such file"):
        ensure_private_directory(tmp_path / "missing" / "d")


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    require_root()
    directory = tmp_path / "d"
    ensure_private_directory(directory)
    os.chown(directory, 12345, -1)
    with pytest.raises(DirectoryRefusedError, match="belongs to user 12345, not to 0"):
        ensure_private_directory(directory)


def in_a_directory(owner: int, mode: int, path: Path) -> Path:
    path.mkdir()
    os.chown(path, owner, -1)
    path.chmod(mode)
    return path / "boardd"


@pytest.mark.parametrize(
    ("owner", "mode", "exists", "obstacle"),
    [
        (0, 0o700, False, ""),
        (0, 0o700, True, ""),
        (12345, 0o755, False, "could be replaced by others"),
        (12345, 0o755, True, "could be replaced by others"),
        (12345, 0o1777, False, "could be replaced by others"),
        # The host's root, as a container may see it.
        (65534, 0o1777, False, ""),
        (65534, 0o777, False, "could be replaced by others"),
        (65534, 0o755, True, ""),
    ],
)
def test_a_directory_is_private_only_where_nobody_can_replace_it(
    owner: int, mode: int, exists: bool, obstacle: str, tmp_path: Path
) -> None:
    require_root()
    directory = in_a_directory(owner, mode, tmp_path / "parent")
    if exists:
        ensure_private_directory(directory)
    assert obstacle in directory_obstacle(directory)
    assert bool(obstacle) == bool(directory_obstacle(directory))
    assert directory.exists() == exists


def test_a_directory_that_cannot_be_made_or_used_is_told(tmp_path: Path) -> None:
    assert "No such file" in directory_obstacle(tmp_path / "missing" / "boardd")
    (tmp_path / "file").touch()
    assert "cannot be made in" in directory_obstacle(tmp_path / "file" / "boardd")
    assert "no directory" in directory_obstacle(tmp_path / "file")


def test_a_listener_is_seen_also_with_a_full_backlog(runtime_directory: Path) -> None:
    path = runtime_directory / "s"
    assert not accepts_connections(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        assert not accepts_connections(path)
        listener.listen(0)
        # None is accepted, and the second finds no room in the backlog.
        assert [accepts_connections(path) for _ in range(3)] == [True] * 3
    assert not accepts_connections(path)


def test_a_socket_that_may_not_be_reached_is_not_taken_for_an_unused_one(tmp_path: Path) -> None:
    require_root()
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        path.chmod(0o600)
        for directory in (tmp_path, *tmp_path.parents[:2]):
            directory.chmod(0o755)
        os.seteuid(12345)
        try:
            with pytest.raises(PermissionError):
                accepts_connections(path)
        finally:
            os.seteuid(0)


def test_the_kernel_names_the_process_at_the_other_end() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_credentials(left) == (os.getpid(), os.geteuid(), os.getegid())


def test_a_process_is_watched_until_its_end() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = open_process(child.pid)
        try:
            assert not has_ended(process, 0)
            child.communicate(timeout=120)
            assert has_ended(process, 30)
        finally:
            os.close(process)
    with pytest.raises(ProcessLookupError):
        open_process(child.pid)


def test_a_python_without_pidfd_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(OSError, match="not implemented"):
        open_process(os.getpid())


#: Listens as another user, in a directory of its own.
LISTEN = """
import os, socket, sys
os.setuid(12345)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen()
print("listening", flush=True)
sys.stdin.read()
"""


def test_a_listener_of_another_user_is_no_peer(runtime_directory: Path) -> None:
    require_root()
    directory = runtime_directory / "theirs"
    directory.mkdir()
    os.chown(directory, 12345, 12345)
    runtime_directory.chmod(0o711)
    path = directory / "s"
    with subprocess.Popen(
        ["/usr/bin/env", "python3", "-I", "-c", LISTEN, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"listening\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(path))
            with pytest.raises(ForeignSocketError, match="12345"):
                check_peer(connection)
        process.stdin.close()


def test_an_own_listener_is_a_peer(runtime_directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        listener.bind(f"{runtime_directory}/s")
        listener.listen()
        connection.connect(f"{runtime_directory}/s")
        check_peer(connection)
