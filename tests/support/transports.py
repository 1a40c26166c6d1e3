"""The two ways in which a client's records reach a daemon on its own host.

A test that takes the fixture ``transport`` runs once over each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from boardd_client import SummaryWriter

    from support.daemon_process import DaemonProcess

VARIABLE: Final = "BOARDD_SHARED_MEMORY"

#: What the client's environment has to say, by what ``Statistics.transport`` then says.
SETTINGS: Final = {"shared": "1", "by value": "0"}


@contextmanager
def over(transport: str) -> Iterator[None]:
    """Has clients that begin meanwhile, here or in scripts, send over ``transport``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, VARIABLE, SETTINGS[transport])
        yield


def check_transport(transport: str, sw: SummaryWriter, daemon: DaemonProcess) -> None:
    """Checks that the session of ``sw``, the daemon's only one, goes over ``transport``.

    Something must have been flushed, for the session to be there.
    """
    assert sw.statistics().transport == transport
    (session,) = daemon.status().sessions
    assert (session.map_bytes > 0) == (transport == "shared"), session
