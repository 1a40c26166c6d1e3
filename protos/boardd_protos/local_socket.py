"""A Unix socket of this host: its private directory, who listens, and who is at the other end.

Both ends rely on the directory for access control: only its owner can reach a
socket in a directory of mode 0700, whatever the mode of the socket itself.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
from pathlib import Path
from typing import Final, NamedTuple

from boardd_protos.limits import MAX_TIMEOUT_SECS

#: A daemon at ``unix:/path/boardd.sock`` takes maps at ``/path/boardd.sock.maps``.
HANDOVER_SUFFIX: Final = ".maps"

#: What errors call a directory, unless they are told otherwise.
SOCKET_DIRECTORY: Final = "the socket's directory"

_UCRED: Final = struct.Struct("3i")

#: Whom a user that is not mapped appears as: the host's root, in many containers.
_OVERFLOW_USER: Final = 65534


class DirectoryRefusedError(Exception):
    """A directory that does not keep other users out; correct it or choose another."""


class ForeignSocketError(Exception):
    """A socket that is another user's: nothing may be said to who listens there."""


class PeerCredentials(NamedTuple):
    """A process at the other end of a Unix socket, as the kernel knows it.

    ``pid`` is 0 for a process in a pid namespace that is not visible from here.
    """

    pid: int
    uid: int
    gid: int


def ensure_private_directory(path: Path, what: str = SOCKET_DIRECTORY) -> None:
    """Makes sure that only this user can reach into ``path``, which errors call ``what``.

    Creates it with mode 0700 when it is missing; its parent must exist. The mode
    of a directory that is there is never changed.

    Raises:
        DirectoryRefusedError: it cannot be created or opened, is a symlink or no
            directory, belongs to another user, or is open to group or others.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise DirectoryRefusedError(
            f"{what} {path} cannot be made: {error.strerror}; create it with mode 0700"
        ) from None
    else:
        os.chmod(path, 0o700)  # the umask may have taken bits that the owner needs
    check_private_directory(path, what)


def check_private_directory(path: Path, what: str = SOCKET_DIRECTORY) -> None:
    """Raises ``DirectoryRefusedError`` unless ``path`` is a directory of this user's alone."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise DirectoryRefusedError(
            f"{what} {path} cannot be looked at: {error.strerror}; use another"
        ) from None
    _check_private(path, status, what)


def _check_private(path: Path, status: os.stat_result, what: str) -> None:
    """Raises ``DirectoryRefusedError``; ``status`` is that of ``path`` itself, not of a target."""
    if not stat.S_ISDIR(status.st_mode):
        raise DirectoryRefusedError(f"{what} {path} is a symlink or no directory; use another")
    if status.st_uid != os.geteuid():
        raise DirectoryRefusedError(
            f"{what} {path} belongs to user {status.st_uid}, not to "
            f"{os.geteuid()}; use a directory of your own"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        own = f"boardd-{os.geteuid()}"
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
        # Only a directory of boardd's own is told to be closed: others may live in this one.
        cure = (
            f"run: chmod 700 {path}"
            if path.name == own or path == runtime / "boardd"
            else f"use one of its own, such as {path / own}, which is made with mode 0700"
        )
        raise DirectoryRefusedError(
            f"{what} {path} has mode {mode:04o}, so other users could reach what is there; {cure}"
        )


def directory_obstacle(path: Path) -> str:
    """Why ``path`` is no private directory of this user's and cannot become one.

    Empty if it is one, or is missing and can be made. Changes nothing.
    """
    parent = path.parent
    try:
        status = os.stat(parent)
        exists = True
        try:
            _check_private(path, os.lstat(path), SOCKET_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            exists = False
    except DirectoryRefusedError as error:
        return str(error)
    except OSError as error:
        return f"the socket's directory {path} cannot be made: {error.strerror}"
    what = f"{parent} (user {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
    if not _keeps_others_out(status):
        return f"the socket's directory {path} could be replaced by others: {what}"
    if not _is_writable(path if exists else parent):
        problem = "cannot be written" if exists else f"cannot be made in {what}"
        return f"the socket's directory {path} {problem}"
    return ""


def _keeps_others_out(parent: os.stat_result) -> bool:
    """Whether nobody else may rename what this user has in a directory."""
    if parent.st_uid == os.geteuid():
        return True
    is_roots = parent.st_uid in (0, _OVERFLOW_USER)
    is_shared = bool(parent.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return is_roots and (not is_shared or bool(parent.st_mode & stat.S_ISVTX))


def _is_writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def accepts_connections(socket_path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether a process listens on ``socket_path`` with a socket of ``kind``. Does not wait.

    Raises ``PermissionError`` when this user may not connect to it.
    """
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(socket_path))
        except BlockingIOError:  # its backlog is full
            return True
        except PermissionError:
            raise
        except OSError:
            return False
        return True


def peer_credentials(connection: socket.socket) -> PeerCredentials:
    """The process that connected, or that listens, at the other end of ``connection``.

    They are those of the moment of ``connect`` or ``listen``; the process may have
    ended since. Raises ``OSError`` when ``connection`` is no connected Unix socket.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return PeerCredentials(*_UCRED.unpack(data))


def check_peer(connection: socket.socket) -> None:
    """Checks that who listens at the other end of ``connection`` is this user, or root.

    Raises ``ForeignSocketError``, and ``OSError`` as ``peer_credentials`` does.
    """
    user = peer_credentials(connection).uid
    if user not in (0, os.geteuid()):
        raise ForeignSocketError(
            f"the daemon is user {user}'s, and records are for user {os.geteuid()} or root; set "
            "BOARDD_ADDRESS to another socket"
        )


def open_process(pid: int) -> int:
    """Returns a descriptor of process ``pid`` (a pidfd), to be closed by the caller.

    It becomes readable when the process ends, and never means a later process with
    the same pid.

    Raises:
        ProcessLookupError: there is no such process.
        OSError: a process cannot be watched here: the kernel, a sandbox or this build of
            Python lacks pidfd.
    """
    if not hasattr(os, "pidfd_open"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return os.pidfd_open(pid)


def has_ended(process: int, timeout_secs: float) -> bool:
    """Waits for the end of ``process``, a descriptor of ``open_process``.

    Returns False when it still runs after ``timeout_secs``; below 0 counts as 0.
    """
    poll = select.poll()
    poll.register(process, select.POLLIN)
    # Below 0 the system would wait for ever.
    return bool(poll.poll(min(max(0.0, timeout_secs), MAX_TIMEOUT_SECS) * 1000))
