"""Whether the daemon of a socket writes where a run is to be, found out when a writer is made.

The daemon says so in the lock file of its socket, see ``boardd_protos.socket_owner``: nobody is
asked, so a daemon that is stopped holds nobody up. One that is not there says nothing; then the
run is refused when the daemon hears of it.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from boardd_protos import remote_logdir
from boardd_protos.address import UnixAddress
from boardd_protos.socket_owner import SocketOwner, socket_owner

#: Seconds that a disk may take to say where a path leads; else it is not known.
_PATIENCE_SECS: Final = 0.5


def check_roots(address: UnixAddress, logdir: str, directory: str) -> None:
    """Checks that the daemon at ``address`` writes in ``directory``, the absolute ``logdir``.

    Raises ``ValueError``, with the daemon's roots and what to do, if it does not. That a link
    leads to where it does not is left for the daemon to find.
    """
    owner = socket_owner(address.path)
    if owner is not None and remote_logdir.is_remote(directory):
        _check_remote_roots(address, directory, owner)
        return
    if owner is None or not owner.roots or _writes_in(directory, owner):
        return
    real = _resolved(directory)
    if real is None or _writes_in(real, owner):
        return
    here = f"logdir {logdir!r} is {directory}, and the daemon at {address}"
    if any(_lies_below(real, root) for root in owner.roots):
        raise ValueError(
            f"{here} leaves that directory alone; choose another, or set the daemon's "
            f"BOARDD_LOGDIR_ROOT to {directory} and restart it"
        )
    name = os.path.normpath(logdir)
    if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
        name = os.path.basename(directory)
    raise ValueError(
        f"{here} writes only below {' and '.join(owner.roots)}; choose a logdir there, for "
        f"instance {os.path.normpath(os.path.join(owner.roots[0], name))}, or set the daemon's "
        f"BOARDD_LOGDIR_ROOT to a directory above {directory} and restart it"
    )


def _check_remote_roots(address: UnixAddress, url: str, owner: SocketOwner) -> None:
    here = f"logdir {url!r}: the daemon at {address}"
    if owner.remote_roots is None:
        if owner.pid:  # else its lock file was not understood
            raise ValueError(f"{here} is of a version that writes local directories only")
    elif why := owner.remote_obstacle or owner.scheme_obstacles.get(url.partition("://")[0], ""):
        raise ValueError(f"{here} cannot write there: {why}")
    elif not remote_logdir.lies_beneath(url, owner.remote_roots):
        listed = " and ".join((*owner.roots, *owner.remote_roots))
        raise ValueError(
            f"{here} writes only below {listed}; choose a logdir there, or add {url} to the "
            "daemon's BOARDD_LOGDIR_ROOT and restart it"
        )


def _writes_in(path: str, owner: SocketOwner) -> bool:
    root = next((root for root in owner.roots if _lies_below(path, root)), None)
    return root is not None and not any(
        _lies_below(path, directory) and not _lies_below(root, directory)
        for directory in owner.left_alone
    )


def _lies_below(path: str, directory: str) -> bool:
    return os.path.commonpath((path, directory)) == directory


def _resolved(path: str) -> str | None:
    """``path`` with links resolved; None if a disk does not answer in time."""
    found: list[str] = []
    looking = threading.Thread(target=lambda: found.append(os.path.realpath(path)), daemon=True)
    try:
        looking.start()
    except RuntimeError:  # the system has no thread to spare
        return None
    looking.join(_PATIENCE_SECS)
    return found[0] if found else None
