"""Where remote runs are written first, unless it is set."""

from __future__ import annotations

import os
import socket

import pytest
from boardd.settings.default_spool import default_spool


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/boardd/spool-here"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/state"}, "/state/boardd/spool-here"),
        (
            {"HOME": "/home/ann", "XDG_STATE_HOME": "state"},
            "/home/ann/.local/state/boardd/spool-here",
        ),
        ({"HOME": "/x", "STATE_DIRECTORY": "/var/lib/boardd:/other"}, "/var/lib/boardd/spool"),
        ({}, f"/var/tmp/boardd-{os.getuid()}/spool"),
    ],
)
def test_it_outlives_a_reboot(
    environ: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    for name in ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert str(default_spool()) == path
