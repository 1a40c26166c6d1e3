"""How much memory this process and those beside it may take: the limit of its control groups."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
#: More than any machine has: how the first version of control groups writes that there is none.
_NO_LIMIT: Final = 1 << 60


def memory_limit_bytes(
    root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """The least limit of this process's control groups; None if there is none to be seen.

    ``root`` is where control groups are mounted, ``membership`` the file that names this
    process's.
    """
    limits = []
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(root, path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(root / "memory", path, "memory.limit_in_bytes")
    return min(limits, default=None)


def _limits(top: Path, path: str, name: str) -> list[int]:
    """The limits of the group at ``path`` and of those around it."""
    limits = []
    group = Path(path.lstrip("/"))
    for directory in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # ValueError: the word "max"
            limit = int((top / directory / name).read_text())
            if limit < _NO_LIMIT:
                limits.append(limit)
    return limits
