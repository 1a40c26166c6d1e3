"""What a daemon on this host is told of where a run lies, and of its files.

The daemon may live in another mount namespace, where the same path leads elsewhere. So it
is told which directory this process sees. And files get the permissions that this
process would give them, not those of whoever started the daemon.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Seconds that a disk may take to answer. A run on one that hangs is not described.
_PATIENCE_SECS: Final = 0.5


class RunLocation:
    """Where a run in the absolute ``logdir`` lies. Looks for it at once, on a thread.

    A stat on a network file system whose server is gone may never return.
    """

    def __init__(self, logdir: str) -> None:
        self._logdir = logdir
        self._found: list[pb.Directory] = []
        self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._look, name="boardd-stat", daemon=True)
        with contextlib.suppress(RuntimeError):  # the system has no thread to spare
            self._thread.start()

    def _look(self) -> None:
        self._found.append(nearest_directory(self._logdir))

    def describe(self, definition: pb.RunDefinition, patience_secs: float = _PATIENCE_SECS) -> None:
        """Fills in ``ancestor`` and ``umask`` of a run.

        Returns within ``patience_secs``, and leaves out what cannot be found out until then.
        """
        if not self._found and not self._thread.is_alive():  # in a forked child
            self._begin()
        if self._thread.is_alive():
            self._thread.join(patience_secs)
        if self._found:
            definition.ancestor.CopyFrom(self._found[0])
        umask = _umask()
        if umask is not None:
            definition.umask = umask


def nearest_directory(path: str) -> pb.Directory:
    """The nearest directory that exists, at ``path`` or above it."""
    for candidate in (Path(path), *Path(path).parents):
        with contextlib.suppress(OSError):
            status = os.stat(candidate)
            return pb.Directory(
                path=os.fspath(candidate), device=status.st_dev, inode=status.st_ino
            )
    return pb.Directory()


def _umask() -> int | None:
    """The umask, which no call can ask for without changing it; None before Linux 4.7."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None
