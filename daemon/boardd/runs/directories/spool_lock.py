"""Who has the spool: one daemon at a time, whichever host it is on."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
from pathlib import Path
from typing import Final

_LOCK_NAME: Final = "lock"
_ID_NAME: Final = "id"
_MAX_HOLDER_BYTES: Final = 512


class SpoolBusyError(BlockingIOError):
    """Another daemon has the spool. Try again when it has left."""

    def __init__(self, path: Path, holder: str) -> None:
        who = f"another daemon ({holder})" if holder else "another daemon"
        self._text = (
            f"{path}: {who} ships what is written there; runs go on when that leaves, or give this "
            "one its own --spool-dir"
        )
        super().__init__(errno.EBUSY, self._text, str(path))

    def __str__(self) -> str:
        return self._text


class SpoolLock:
    """The lock of the spool at ``path``; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.id = ""  #: of the spool, random; empty while it is not taken
        self.is_used = False  #: whether a run was opened in it
        self._path = path
        self._fd = -1

    def take(self) -> bool:
        """Takes the spool unless it is taken, and makes it if need be. Returns whether it did.

        Raises ``OSError``, and ``SpoolBusyError`` if another daemon has it.
        """
        if self.id:
            return False
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.stat(self._path)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise OSError(errno.EPERM, "others may write there")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path / _LOCK_NAME, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _note_holder(fd)
            self.id = _read_id(self._path)
        except BlockingIOError:
            holder = os.pread(fd, _MAX_HOLDER_BYTES, 0).decode(errors="replace")
            os.close(fd)
            raise SpoolBusyError(self._path, holder.strip()) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Leaves the spool to another daemon. May be repeated."""
        fd, self._fd, self.id, self.is_used = self._fd, -1, "", False
        if fd >= 0:
            os.close(fd)


def _note_holder(lock: int) -> None:
    """Says in the lock's file who has it: other hosts may see the spool. A full disk may refuse."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _read_id(path: Path) -> str:
    """The random id of the spool, which its first daemon gives it."""
    file = path / _ID_NAME
    with contextlib.suppress(FileNotFoundError):
        found = file.read_text("ascii", "replace").strip()
        if found.isalnum() and found.isascii():
            return found
    new = secrets.token_hex(4)
    partial = file.with_suffix(".partial")
    with open(partial, "w") as output:
        output.write(new)
        output.flush()
        os.fsync(output.fileno())
    os.replace(partial, file)
    return new
