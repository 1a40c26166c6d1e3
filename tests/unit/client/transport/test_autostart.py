"""How a client starts a daemon."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from boardd_client.errors import AutostartError
from boardd_client.transport.autostart import ensure_daemon
from boardd_protos.address import UnixAddress


@pytest.mark.parametrize("root", ["", "/data/runs"])
def test_any_daemon_that_a_client_starts_may_write_anywhere_unless_told_where(
    root: str, runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Daemons of earlier versions have one root by default, the working directory.

    A flag would outdo the user's settings file.
    """
    seen = tmp_path / "seen"
    script = f'{{ pwd; echo "$@"; }} > {shlex.quote(str(seen))}'
    monkeypatch.setenv("BOARDD_COMMAND", f"/bin/sh -c {shlex.quote(script)} daemon")
    monkeypatch.setenv("BOARDD_LOGDIR_ROOT", root)
    monkeypatch.setenv("BOARDD_AUTOSTART", "1")
    monkeypatch.chdir(tmp_path)
    address = UnixAddress(runtime_directory / "daemon.sock")
    with pytest.raises(AutostartError, match="ended before it served"):
        ensure_daemon(address, 30)
    flags = f"--socket {address.path} --autostarted" + (f" --logdir-root {root}" if root else "")
    assert seen.read_text().splitlines() == ["/", flags]
