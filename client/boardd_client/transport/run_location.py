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


def describe(definition: pb.RunDefinition, patience_secs: float = _PATIENCE_SECS) -> None:
    """Fills in ``ancestor`` and ``umask`` of a run in an absolute ``logdir`` on this host.

    Returns within ``patience_secs``, and leaves out what cannot be found out until then.
    """
    found: list[pb.Directory] = []

    def look() -> None:
        found.append(nearest_directory(definition.logdir))

    # A stat on a network file system whose server is gone may never return.
    thread = threading.Thread(target=look, name="boardd-stat", daemon=True)
    with contextlib.suppress(RuntimeError):  # the system has no thread to spare
        thread.start()
        thread.join(patience_secs)
    if found:
        definition.ancestor.CopyFrom(found[0])
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
