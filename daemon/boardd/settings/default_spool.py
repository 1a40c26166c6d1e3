"""Where runs that are shipped to an object store are written first, unless it is set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_NAME: Final = Path("boardd", "spool")


def default_spool() -> Path:
    """A directory that outlives a reboot: of the service, else of the user.

    ``$STATE_DIRECTORY`` (systemd's), ``$XDG_STATE_HOME/boardd``, or ``~/.local/state/boardd``;
    for a user without a home directory ``/var/tmp/boardd-UID``. In each of them ``spool``.
    """
    of_service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(of_service):
        return Path(of_service, "spool")
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return base / _NAME
    home = os.environ.get("HOME", "")
    if os.path.isabs(home):
        return Path(home, ".local", "state") / _NAME
    return Path(f"/var/tmp/boardd-{os.getuid()}", "spool")
