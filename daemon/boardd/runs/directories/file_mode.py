"""The permissions of what is made for a run: those that its writer would give.

The umask of this process is the same for all that it makes, so it is not changed for a
run. What it takes away and the writer's does not is given back afterwards.
"""

from __future__ import annotations

import os
import stat
from typing import Final

#: Of a new file and a new directory, before any umask.
FILE_MODE: Final = 0o666
DIRECTORY_MODE: Final = 0o777


def mode(base: int, umask: int | None) -> int:
    """The mode to make something with. ``umask`` None leaves it to the process's."""
    return base & ~(umask or 0)


def complete(fd: int, base: int, umask: int | None) -> None:
    """Gives what was just made with ``mode``, open as ``fd``, the bits that it still lacks.

    No bit is taken away: a directory's default ACL may have given more. Raises ``OSError``.
    """
    if umask is None:
        return
    status = os.fstat(fd)
    now = stat.S_IMODE(status.st_mode)
    lacking = mode(base, umask) & ~now
    if lacking and status.st_uid == os.geteuid():
        # Not fchmod, which takes no descriptor that only marks a place.
        os.chmod(f"/proc/self/fd/{fd}", now | lacking)
