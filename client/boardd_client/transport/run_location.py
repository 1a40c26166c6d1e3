"""What a daemon on this host is told of where a run lies, and of its files.

The daemon may live in another mount namespace, where the same path leads elsewhere. So it
is told which directory this process sees. And files get the permissions that this
process would give them, not those of whoever started the daemon.
"""

from __future__ import annotations

import _thread
import contextlib
import os
from collections.abc import Callable
from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Seconds that a disk may take to answer. A run on one that hangs is not described.
_PATIENCE_SECS: Final = 0.5
#: What the kernel says of a process is shorter.
_STATUS_BYTES: Final = 4096
_UMASK: Final = b"Umask:"


class RunLocation:
    """Where a run in the absolute ``logdir`` lies. Looks for it at once, on a thread.

    A stat on a network file system whose server is gone may never return. What else is to be
    found out off the caller's thread, ``afterwards`` does when the look is over.
    """

    def __init__(self, logdir: str, afterwards: Callable[[], None] = lambda: None) -> None:
        self._logdir = logdir
        self._afterwards = afterwards
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._umask: int | None = None
        self._directory: pb.Directory | None = None
        # Taken until the look is over. ``threading`` would make the caller wait for the
        # thread's start, which takes several times as long as all the rest.
        self._looking = _thread.allocate_lock()
        self._looking.acquire()
        try:
            _thread.start_new_thread(self._look, ())
        except RuntimeError:  # the system has no thread to spare
            self._looking.release()

    def _look(self) -> None:
        try:
            self._umask = _umask()
            self._directory = nearest_directory(self._logdir)
        finally:
            self._looking.release()
        self._afterwards()

    def describe(self, definition: pb.RunDefinition, patience_secs: float = _PATIENCE_SECS) -> None:
        """Fills in ``ancestor`` and ``umask`` of a run.

        Returns within ``patience_secs``, and leaves out what cannot be found out until then.
        """
        if self._directory is None:
            if self._process != os.getpid():  # the thread is not in a forked child
                self._begin()
            if self._looking.acquire(timeout=patience_secs):
                self._looking.release()
        if self._directory is not None:
            definition.ancestor.CopyFrom(self._directory)
        if self._umask is not None:
            definition.umask = self._umask


def nearest_directory(path: str) -> pb.Directory:
    """The nearest directory that exists, at ``path`` or above it."""
    candidate = path
    while True:
        with contextlib.suppress(OSError):
            status = os.stat(candidate)
            return pb.Directory(path=candidate, device=status.st_dev, inode=status.st_ino)
        above = os.path.dirname(candidate)
        if above == candidate:
            return pb.Directory()
        candidate = above


def _umask() -> int | None:
    """The umask, which no call can ask for without changing it; None before Linux 4.7."""
    with contextlib.suppress(OSError, ValueError):
        status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(status, _STATUS_BYTES)
        finally:
            os.close(status)
        found = text.partition(_UMASK)[2].split(maxsplit=1)
        return int(found[0], 8) if found else None
    return None
