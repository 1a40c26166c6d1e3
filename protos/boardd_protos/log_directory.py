"""Where clients keep their logs, so that the daemon of their socket finds them.

A log is a file on a tmpfs, named by its session, in a directory that belongs to one
daemon's socket and to this user alone. Its client holds a lock on it (``fcntl``) for as
long as it lives: not inherited by a forked child, and not kept by whoever was handed a
descriptor. What nobody locks was left by a client that is dead.

Never a disk: there, writing the file back could hold up a call that logs.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from boardd_protos.local_socket import (
    DirectoryRefusedError,
    check_private_directory,
    ensure_private_directory,
)

#: Behind the name of a file that is no log.
SET_ASIDE_SUFFIX: Final = ".set-aside"

#: What nobody has adopted after this time lies there for a socket that nobody uses any more. A
#: client that lives sets its log's time anew now and then.
FORGOTTEN_SECS: Final = 3 * 86400.0

#: What errors call a directory.
_NAME: Final = "the logs' directory"
_TMPFS_MAGIC: Final = 0x01021994
#: More than any system's ``struct statfs``, whose first word is the magic number.
_STATFS_BYTES: Final = 256


def log_directories(socket: Path) -> list[Path]:
    """The directories for logs of the daemon at ``socket``, best first; none needs to exist.

    Beside the socket, and in ``/dev/shm/boardd-<uid>``: client and daemon find the same ones,
    whatever environment each of them has.
    """
    path = os.path.realpath(socket)
    key = _key(path)
    bases = [Path(path).parent, Path("/dev/shm") / f"boardd-{os.geteuid()}"]
    return [base / "log" / key for base in bases]


def make_log_directory(directory: Path) -> None:
    """Makes sure that ``directory``, one of ``log_directories``, is there, private and on a tmpfs.

    Raises ``OSError`` if it is not on a tmpfs or cannot be made, and
    ``DirectoryRefusedError`` if others can reach into it.
    """
    base = directory.parent.parent
    if not is_tmpfs_path(base.parent):
        raise OSError(f"{base.parent} is not on a tmpfs")
    for path in (base, directory.parent, directory):
        ensure_private_directory(path, _NAME)


def check_log_directory(directory: Path) -> None:
    """Checks that ``directory``, one of ``log_directories``, is private and on a tmpfs.

    Raises ``FileNotFoundError`` if it is missing, ``OSError`` if it cannot be looked at or is
    on a disk, and ``DirectoryRefusedError`` if others can reach into it.
    """
    if not is_tmpfs_path(directory):
        raise OSError(f"{directory} is not on a tmpfs")
    for path in (directory.parent.parent, directory.parent, directory):
        check_private_directory(path, _NAME)


def remove_forgotten(directories: Iterable[Path], now: float) -> list[Path]:
    """Removes what nobody locks and nobody has touched for ``FORGOTTEN_SECS``.

    ``directories`` are the ``log_directories`` of a socket. What lies there is left to its
    daemon; those of all other sockets beside them are looked into. ``now`` is a wall time.
    Returns the files that were removed.
    """
    oldest = now - FORGOTTEN_SECS
    removed = []
    for own in directories:
        with contextlib.suppress(OSError, DirectoryRefusedError):
            check_private_directory(own.parent, _NAME)
            for directory in [path for path in own.parent.iterdir() if path != own]:
                with contextlib.suppress(OSError, DirectoryRefusedError):
                    check_log_directory(directory)
                    is_old = directory.stat().st_mtime < oldest
                    removed += [path for path in directory.iterdir() if _remove_old(path, oldest)]
                    if is_old:
                        directory.rmdir()
    return removed


def _remove_old(path: Path, oldest: float) -> bool:
    """Raises ``OSError``."""
    status = path.lstat()
    if status.st_uid != os.geteuid() or status.st_mtime >= oldest:
        return False
    if not stat.S_ISREG(status.st_mode):
        if not path.name.endswith(SET_ASIDE_SUFFIX) or stat.S_ISDIR(status.st_mode):
            return False
        path.unlink()
        return True
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not try_lock(fd):
            return False
        unlink_log(fd, os.fspath(path))
        return True
    finally:
        os.close(fd)


def is_tmpfs(fd: int) -> bool:
    """Whether the file lies in memory, as a memfd does, too. Raises ``OSError``."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc().fstatfs(ctypes.c_int(fd), buffer):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    magic = ctypes.c_ulong.from_buffer(buffer).value & 0xFFFF_FFFF
    return magic == _TMPFS_MAGIC


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def is_tmpfs_path(path: Path) -> bool:
    """Whether the directory is there and lies on a tmpfs. Raises ``OSError`` if it is not there."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return is_tmpfs(fd)
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Takes the lock of a log, unless another process has it. ``fd`` is open for writing."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlink_log(fd: int, path: str) -> None:
    """Removes ``path``, if it is that of the log that ``fd`` refers to."""
    with contextlib.suppress(OSError):
        found = os.stat(path, follow_symlinks=False)
        if os.path.samestat(found, os.fstat(fd)):
            os.unlink(path)


def _key(path: str) -> str:
    """Names the socket at ``path``. Of two of one path, in two containers say, each has its own."""
    device = inode = 0
    with contextlib.suppress(OSError):
        # The directory above: the socket's own may be made later.
        status = os.stat(os.path.dirname(os.path.dirname(path)))
        device, inode = status.st_dev, status.st_ino
    return hashlib.sha256(f"{device} {inode} {path}".encode(errors="surrogateescape")).hexdigest()[
        :16
    ]
