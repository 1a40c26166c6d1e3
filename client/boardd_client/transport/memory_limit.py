"""How much memory this process and those beside it may take: the limit of its control groups."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
#: More than any machine has: how the first version of control groups writes that there is none.
_NO_LIMIT: Final = 1 << 60
#: A process is in a dozen groups of the first version, each with a path of its own.
_MOST_BYTES: Final = 64 << 10


def memory_limit_bytes(
    root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """The least limit of this process's control groups; None if there is none to be seen.

    ``root`` is where control groups are mounted, ``membership`` the file that names this
    process's.
    """
    limits = []
    top = os.fspath(root)
    with contextlib.suppress(OSError):
        for line in _read(os.fspath(membership)).decode(errors="surrogateescape").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(top, path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(f"{top}/memory", path, "memory.limit_in_bytes")
    return min(limits, default=None)


@functools.cache
def known_memory_limit_bytes() -> int | None:
    """As ``memory_limit_bytes``, read once in a process."""
    return memory_limit_bytes()


def _limits(top: str, path: str, name: str) -> list[int]:
    """The limits of the group at ``path`` and of those around it."""
    limits = []
    group = path.strip("/")
    while True:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the word "max"
            limit = int(_read(f"{top}/{group}/{name}"))
            if limit < _NO_LIMIT:
                limits.append(limit)
        if not group:
            return limits
        group = group.rpartition("/")[0]


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
