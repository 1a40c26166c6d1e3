"""The lock on a run's directory: one daemon writes a run.

It is ``flock``'s, on the directory itself, and gone with the process however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)

_NO_FLOCK: Final = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})

_warned_no_flock = False


class RunLockedError(BlockingIOError):
    """Another writer has the run's directory. Try again when it has closed the run."""

    def __init__(self, path: Path, fd: int) -> None:
        holder = _holder(fd)
        if holder == os.getpid():
            who = "this daemon writes that directory already, under another name"
        else:
            process = f" (pid {holder})" if holder else ""
            who = f"another daemon{process} is writing this run; it goes on when that ends"
        self._text = f"{path}: {who}"
        super().__init__(errno.EWOULDBLOCK, self._text, str(path))

    def __str__(self) -> str:
        return self._text


def lock_directory(path: Path, fd: int) -> bool:
    """Locks the directory ``path``, open as ``fd``, until ``fd`` is closed; does not wait.

    Returns whether it did: some file systems have no locks. Raises ``RunLockedError`` if another
    has locked it, and ``OSError``.
    """
    global _warned_no_flock
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunLockedError(path, fd) from None
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        if not _warned_no_flock:
            _warned_no_flock = True
            _logger.warning(
                "%s: this filesystem has no locks (%s); see to it that no other daemon "
                "writes the same runs",
                path,
                error.strerror,
            )
        return False
    return True


def _holder(fd: int) -> int:
    """The process that has locked what is open as ``fd``; 0 if that cannot be seen."""
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    wanted = f"{device}:{status.st_ino}"
    try:
        with open("/proc/locks") as locks:
            for line in locks:
                fields = line.split()
                # "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF"; those that wait have "->".
                if fields[1] == "FLOCK" and len(fields) > 5 and fields[5] == wanted:
                    return max(0, int(fields[4]))
    except (OSError, ValueError, IndexError):
        pass
    return 0
