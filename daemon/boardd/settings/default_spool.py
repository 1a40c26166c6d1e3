"""Where runs that are shipped to an object store are written first, unless it is set."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

_ROOM: Final = "boardd"


def default_spool() -> Path:
    """A directory that outlives a reboot: of the service, else of the user on this host.

    ``$STATE_DIRECTORY/spool`` (systemd's), ``$XDG_STATE_HOME/boardd/spool-HOST`` or
    ``~/.local/state/boardd/spool-HOST``, since hosts may share a home directory; for a user
    without one ``/var/tmp/boardd-UID/spool``.
    """
    of_service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(of_service):
        return Path(of_service, "spool")
    of_host = Path(_ROOM, f"spool-{socket.gethostname()}")
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return base / of_host
    home = os.environ.get("HOME", "")
    if os.path.isabs(home):
        return Path(home, ".local", "state") / of_host
    return Path(f"/var/tmp/boardd-{os.getuid()}", "spool")
