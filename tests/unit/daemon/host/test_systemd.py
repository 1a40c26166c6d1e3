"""What the service manager is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from boardd.host.systemd import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_reach_the_manager(abstract: bool, runtime_directory: Path) -> None:
    name = f"@boardd-test-{os.getpid()}" if abstract else str(runtime_directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready("listening")
        assert manager.recv(1000) == b"READY=1\nSTATUS=listening"
        notifier.stopping("writing")
        assert manager.recv(1000) == b"STOPPING=1\nSTATUS=writing"
        notifier.alive()
        assert manager.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_nobody_to_tell_is_no_trouble(environ: dict[str, str]) -> None:
    Notifier(environ).ready("listening")


@pytest.mark.parametrize(
    ("environ", "secs"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "nonsense"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_for_this_process_only(environ: dict[str, str], secs: float | None) -> None:
    assert Notifier(environ).watchdog_secs == secs
