"""Whether the daemon of a socket writes where a run is to be, found out when a writer is made.

The daemon says so in the lock file of its socket, see ``boardd_protos.socket_owner``: nobody is
asked, so a daemon that is stopped holds nobody up. One that is not there says nothing; then the
run is refused when the daemon hears of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Final

from boardd_protos.address import UnixAddress
from boardd_protos.socket_owner import socket_owner

#: Seconds that a disk may take to say where a path leads; else it is not known.
_PATIENCE_SECS: Final = 0.5


def check_roots(address: UnixAddress, logdir: str, directory: str) -> None:
    """Checks that the daemon at ``address`` writes in ``directory``, the absolute ``logdir``.

    Raises ``ValueError``, with the daemon's roots and what to do, if it does not.
    """
    owner = socket_owner(address.path)
    roots = owner.roots if owner is not None else ()
    if not roots or _lies_below(directory, roots):
        return
    real = _resolved(directory)
    if real is None or _lies_below(real, roots):
        return
    name = os.path.basename(directory) if os.path.isabs(logdir) else logdir
    raise ValueError(
        f"logdir {logdir!r} is {directory}, and the daemon at {address} writes only below "
        f"{' and '.join(roots)}; choose a logdir there, for instance "
        f"{os.path.normpath(os.path.join(roots[0], name))}, or set the daemon's "
        f"BOARDD_LOGDIR_ROOT to a directory above {directory} and restart it"
    )


def _lies_below(path: str, roots: Iterable[str]) -> bool:
    return any(os.path.commonpath((path, root)) == root for root in roots)


def _resolved(path: str) -> str | None:
    """``path`` with links resolved; None if a disk does not answer in time."""
    found: list[str] = []
    looking = threading.Thread(target=lambda: found.append(os.path.realpath(path)), daemon=True)
    looking.start()
    looking.join(_PATIENCE_SECS)
    return found[0] if found else None
