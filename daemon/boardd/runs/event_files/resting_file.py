"""An event file that was closed for want of descriptors, to be opened again."""

from __future__ import annotations

import errno
import os
from typing import Final

#: A FIFO that has just taken its place is not waited for.
_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC
#: There is no file of that name, or something else has it.
_GONE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ESTALE, errno.ENXIO, errno.EISDIR})


class RestingFile:
    """Knows the file ``name``, open as ``fd``, when it sees it again. Raises ``OSError``."""

    def __init__(self, fd: int, name: str) -> None:
        self._name = name
        self._status = os.fstat(fd)

    def reopen(self, directory: int) -> int:
        """Opens it in ``directory``, to append; returns the descriptor.

        An error that the kernel met meanwhile, when it wrote the file's pages, and has told
        nobody yet is told by the next fsync of the new descriptor.

        Raises ``FileNotFoundError`` if it is gone or another is in its place,
        ``PermissionError`` if it may not be opened any more, and ``OSError``.
        """
        try:
            # To open a device may do something to it.
            found = os.stat(self._name, dir_fd=directory, follow_symlinks=False)
            if not os.path.samestat(found, self._status):
                raise self._gone()
            fd = os.open(self._name, _FLAGS, dir_fd=directory)
        except OSError as error:
            if error.errno in _GONE:
                raise self._gone() from error
            raise
        status = os.fstat(fd)
        # A new file may get the inode of one that was removed.
        if os.path.samestat(status, self._status) and status.st_size == self._status.st_size:
            return fd
        os.close(fd)
        raise self._gone()

    def _gone(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "the event file was removed or replaced", self._name)
