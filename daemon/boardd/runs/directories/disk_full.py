"""Trouble with a disk that may pass, and the error of one without room."""

from __future__ import annotations

import errno
from typing import Final

#: The disk, or the owner's share of it, is full: freeing some of it helps.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Out of descriptors or memory, a disk or server that fails now.
PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})


class DiskFullError(OSError):
    """The disk or the quota is full. Try again when some space is free."""
