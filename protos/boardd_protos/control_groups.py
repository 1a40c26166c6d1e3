"""What control groups allow a process, and those beside it: memory, and time of processors.

Both versions of control groups count, and each group around the process's own.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
#: More than any machine has: how the first version of control groups writes that there is none.
_NO_LIMIT: Final = 1 << 60
#: A process is in a dozen groups of the first version, each with a path of its own.
_MOST_BYTES: Final = 64 << 10


def memory_limit_bytes(root: Path | None = None, membership: Path | None = None) -> int | None:
    """The least memory limit of a process's control groups; None if there is none to be seen.

    ``root`` is where control groups are mounted, ``membership`` the file that names the
    process's; without them, this process's count.
    """
    limits = []
    for controllers, group in _groups(root, membership):
        name = "memory.max" if controllers == "" else "memory.limit_in_bytes"
        if controllers in ("", "memory"):
            with contextlib.suppress(OSError, ValueError):  # ValueError: the word "max"
                limits.append(int(_read(f"{group}/{name}")))
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


@functools.cache
def known_memory_limit_bytes() -> int | None:
    """As ``memory_limit_bytes``, read once in a process."""
    return memory_limit_bytes()


def processor_quota(root: Path | None = None, membership: Path | None = None) -> float | None:
    """How many processors a process's control groups let it use at a time; None for all.

    1.5 stands for one and a half. ``root`` and ``membership`` are as of ``memory_limit_bytes``.
    """
    quotas = []
    for controllers, group in _groups(root, membership):
        with contextlib.suppress(OSError, ValueError):  # ValueError: the word "max"
            if controllers == "":
                quota, period = map(int, _read(f"{group}/cpu.max").split())
            elif controllers == "cpu":
                quota = int(_read(f"{group}/cpu.cfs_quota_us"))
                period = int(_read(f"{group}/cpu.cfs_period_us"))
            else:
                continue
            if quota > 0 and period > 0:  # -1 is none
                quotas.append(quota / period)
    return min(quotas, default=None)


def _groups(root: Path | None, membership: Path | None) -> Iterator[tuple[str, str]]:
    """Yields each controller ("" of the second version) with the directories of its groups."""
    top = os.fspath(root or _ROOT)
    lines = []
    with contextlib.suppress(OSError):
        lines = _read(os.fspath(membership or _OWN)).decode(errors="surrogateescape").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        together, is_whole, path = rest.partition(":")
        if not is_whole:
            continue
        for controller in together.split(","):
            # Controllers that are mounted together have links by their own names.
            mount = f"{top}/{controller}" if controller else top
            group = path.strip("/")
            while True:
                yield controller, f"{mount}/{group}" if group else mount
                if not group:
                    break
                group = group.rpartition("/")[0]


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
