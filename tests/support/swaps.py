"""Names that change what they stand for while they are used: atomic exchanges by a thread."""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import stat
import threading
import time
from pathlib import Path

#: <fcntl.h> and <linux/fs.h>
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two names; false if one of them is not there."""
    names = os.fsencode(first), os.fsencode(second)
    result: int = _LIBC.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return result == 0


class Swapper:
    """Exchanges the names of each pair in turn, again and again, on a thread of its own."""

    def __init__(self, *pairs: tuple[Path, Path]) -> None:
        self.pairs = list(pairs)  #: may be replaced at any time
        self.swaps = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Swapper:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        choices = random.Random(1)
        while not self._end.is_set():
            for _ in range(100):
                self.swaps += exchange(*choices.choice(self.pairs))
            time.sleep(0.0005)  # what is attacked gets a share of the cores


def digest(directory: Path) -> dict[str, tuple[object, ...]]:
    """What a tree holds: of each entry its kind, mode, time of change and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).digest()
        found[str(path)] = (status.st_mode, status.st_nlink, status.st_mtime_ns, content)
    return found
