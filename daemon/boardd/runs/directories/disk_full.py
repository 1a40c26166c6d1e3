"""The error of a disk without room."""

from __future__ import annotations

import errno
from typing import Final

#: The disk, or the owner's share of it, is full: freeing some of it helps.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class DiskFullError(OSError):
    """The disk or the quota is full. Try again when some space is free."""
