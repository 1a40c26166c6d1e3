"""What a daemon is told that is to take another's place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from boardd.commands import control
from boardd.errors import CommandError, ExitCode
from boardd.host.socket_lock import SocketLock
from boardd_protos.socket_owner import SocketOwner


def test_one_that_accepts_and_does_not_answer_may_be_gone_the_next_time(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REPLACE_SECS", 0.2)
    path = runtime_directory / "s"
    owner = SocketOwner(os.getpid(), True, ("/",), ())
    with SocketLock(path, owner), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        with pytest.raises(CommandError, match="did not answer") as raised:
            control.replace(path)
    assert raised.value.exit_code == ExitCode.FAILED
