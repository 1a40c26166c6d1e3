"""Durable entries of directories."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

#: Filesystems that cannot fsync a directory say so with these.
_NO_DIRECTORY_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


def sync_directory(fd: int) -> None:
    """Makes a directory's entries durable, if its filesystem can do that.

    Raises ``OSError`` when the operating system could not.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise


def sync_parents(fd: int, levels: int) -> None:
    """Makes the entries of the ``levels`` directories above ``fd`` durable, the highest first.

    Raises ``OSError`` when the operating system could not.
    """
    for level in range(levels, 0, -1):
        try:
            parent = os.open("/".join([".."] * level), os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        except PermissionError:
            # One that may be searched and not read; so the whole filesystem is synced.
            _sync_filesystem(fd)
            return
        try:
            sync_directory(parent)
        finally:
            os.close(parent)


def _sync_filesystem(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
