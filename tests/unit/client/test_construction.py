"""What a writer that was made says about its daemon, long before records could be lost."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from boardd_client.transport import autostart
from boardd_client.transport.autostart import obstacle
from boardd_protos.address import UnixAddress, default_address
from support.tools import require_root
from support.waiting import wait_until


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def next_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """As ``warnings``, once there is one: a writer does not wait for what it warns of."""
    wait_until(lambda: bool(warnings(caplog)), "a warning")
    return warnings(caplog)


def test_a_socket_that_can_never_be_there_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"unix:{tmp_path}/missing/deep/boardd.sock"
    for _ in range(3):
        SummaryWriter("logs", address=address)
    (text,) = next_warnings(caplog)
    assert f"none can be started: the socket's directory {tmp_path}" in text
    assert "No such file" in text
    assert "BOARDD_ADDRESS" in text


def test_a_user_without_a_private_directory_is_told(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    require_root()
    user = 10**9 + os.getpid()
    squatted = Path(f"/tmp/boardd-{user}")
    monkeypatch.setattr("os.getuid", lambda: user)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_directory / "gone"))
    squatted.mkdir(0o700)
    try:
        os.chown(squatted, 12345, -1)
        SummaryWriter("logs")
        assert f"{squatted} belongs to user 12345" in "".join(next_warnings(caplog))
    finally:
        squatted.rmdir()


def test_a_daemon_that_cannot_be_run_is_told(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", "no-such-program")
    SummaryWriter("logs")
    assert "BOARDD_COMMAND='no-such-program'" in "".join(next_warnings(caplog))


def test_there_is_no_obstacle_where_a_daemon_is_or_may_come(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not obstacle(default_address())
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    assert not obstacle(UnixAddress(runtime_directory / "missing" / "boardd.sock"))
    monkeypatch.setenv("BOARDD_AUTOSTART", "1")
    monkeypatch.setenv("BOARDD_COMMAND", "no-such-program")
    path = runtime_directory / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        assert not obstacle(UnixAddress(path))
    assert [path.name for path in runtime_directory.iterdir()] == ["s"]


def test_making_a_writer_does_not_wait_for_what_it_warns_of(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, answers = threading.Event(), threading.Event()

    def hang(address: UnixAddress) -> str:
        is_asked.set()
        answers.wait(60)
        return ""

    monkeypatch.setattr(autostart, "obstacle", hang)
    try:
        for _ in range(3):
            SummaryWriter("logs", address=f"unix:{runtime_directory}/hangs")
        assert is_asked.wait(60)
        assert not answers.is_set()
    finally:
        answers.set()


def test_no_token_crosses_a_network_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_TOKEN", "correct-horse-battery-staple")
    for address in ("10.0.0.7:7654", "127.example.com:7654", "[2001:db8::1]:7654"):
        with pytest.raises(ValueError, match="in clear; set BOARDD_TLS_CA") as caught:
            SummaryWriter("logs", address=address)
        assert "horse" not in str(caught.value)
    for address in ("127.0.0.1:7654", "localhost:7654", "[::1]:7654", f"unix:{tmp_path}/s"):
        SummaryWriter("logs", address=address)
    monkeypatch.setenv("BOARDD_TLS_CA", str(tmp_path / "ca.pem"))
    SummaryWriter("logs", address="10.0.0.7:7654")
