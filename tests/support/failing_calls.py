"""A process whose N-th system call fails once: ``python -m support.failing_calls ...``.

It runs the module that ``FAILING`` names. ``FAILS_AT`` says which of the calls that boardd's own
code makes in Python: its name, the line that makes it, and which of that line's, from 1, as in
``write boardd.runs.event_files.live_file:83 2``. Empty: none fails. They are written to the file
``CALLS``, a line for each. A call that fails does nothing, except that ``close`` closes.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import mmap
import os
import runpy
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

#: What each call fails with.
ERRORS: Final[dict[tuple[Any, str], int]] = {
    **{
        (os, name): errno.EIO
        for name in (
            *("write", "pwrite", "read", "pread", "fsync", "fdatasync", "close"),
            *("rename", "replace", "unlink", "rmdir", "stat", "lstat", "fstat", "fstatvfs"),
            *("listdir", "scandir", "access", "chmod", "utime"),
        )
    },
    **{(os, name): errno.ENOSPC for name in ("mkdir", "link", "ftruncate", "posix_fallocate")},
    **{(os, name): errno.EMFILE for name in ("open", "memfd_create", "pidfd_open", "dup")},
    **{(fcntl, name): errno.ENOLCK for name in ("flock", "lockf", "fcntl")},
    (builtins, "open"): errno.EMFILE,
    (io, "open"): errno.EMFILE,
    **{
        (socket.socket, name): errno.ECONNRESET
        for name in ("sendmsg", "recvmsg", "send", "recv", "sendall", "connect", "accept")
    },
    **{(socket.socket, name): errno.ENOBUFS for name in ("bind", "listen", "getsockopt")},
    (socket, "socketpair"): errno.EMFILE,
}
#: Functions of ours that only run an event loop.
_LOOPS: Final = ("run",)
#: What of the standard library passes a call of ours on.
BETWEEN: Final = (
    "support.failing_calls",
    "pathlib",
    "socket",
    "contextlib",
    "os",
    "shutil",
    "genericpath",
    "posixpath",
)


class Calls:
    """Counts the calls of our code, and lets one of them fail."""

    def __init__(self, fails_at: str, path: str) -> None:
        self._fails_at = fails_at
        self._made: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._write = os.write
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def install(self) -> None:
        """Takes the place of all calls that may fail."""
        for (owner, name), number in ERRORS.items():
            setattr(owner, name, self._failing(getattr(owner, name), name, number))
        calls = self

        class FailingMap(mmap.mmap):
            def __new__(cls, *arguments: Any, **options: Any) -> FailingMap:
                if calls.is_due("mmap"):
                    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
                return super().__new__(cls, *arguments, **options)

        mmap.mmap = FailingMap
        if pinning := sys.modules.get("boardd_client.memory.pinning"):  # imported already
            made = self._failing(pinning.PinnableMap.__new__, "mmap", errno.ENOMEM)
            pinning.PinnableMap.__new__ = made

    def is_due(self, name: str) -> bool:
        """Counts a call; returns whether it is the one that fails."""
        caller = next(_callers())
        module = caller.f_globals.get("__name__", "")
        # What gRPC's loop calls seems to come from whoever runs the loop.
        if not module.startswith("boardd") or caller.f_code.co_name in _LOOPS:
            return False
        site = f"{name} {module}:{caller.f_lineno}"
        with self._lock:
            self._made[site] += 1
            call = f"{site} {self._made[site]}"
        self._write(self._fd, f"{call}\n".encode())
        return call == self._fails_at

    def _failing(self, call: Callable[..., Any], name: str, error: int) -> Callable[..., Any]:
        def replaced(*arguments: Any, **options: Any) -> Any:
            if name == "close" and not _may_fail_to_close(arguments[0]):
                return call(*arguments, **options)
            if not self.is_due(name):
                return call(*arguments, **options)
            if name == "close":
                call(*arguments, **options)
            raise OSError(error, os.strerror(error))

        return replaced


def _may_fail_to_close(fd: int) -> bool:
    """Only files on a disk do."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    return path.startswith("/") and not path.startswith(("/memfd:", "/dev/"))


def _callers() -> Iterator[Any]:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") not in (*BETWEEN, "__main__"):
            yield frame
        frame = frame.f_back


if __name__ == "__main__":
    Calls(os.environ["FAILS_AT"], os.environ["CALLS"]).install()
    runpy.run_module(os.environ["FAILING"], run_name="__main__", alter_sys=True)
