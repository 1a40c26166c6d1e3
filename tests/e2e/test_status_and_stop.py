"""``boardd status`` and ``boardd stop`` against real daemons, and what is none."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from boardd.commands.control import stop
from boardd.errors import NoDaemonError
from boardd_protos.address import UnixAddress, default_address
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.lateness import taking
from support.plain_session import Session
from support.waiting import wait_until


def test_status_in_text_and_json(daemon: DaemonProcess) -> None:
    with daemon.channel() as channel:
        session = Session(channel)
        session.define(daemon.logdir / "run")
        session.scalars(10)
        wait_until(lambda: daemon.status().counters.written == 10, "the records are written")
        text = boardd("status", "--address", daemon.address)
        data = json.loads(boardd("status", "--json", "--socket", str(daemon.socket)).stdout)
        session.hang_up()
    assert (text.returncode, text.stderr) == (0, "")
    assert f"pid {daemon.pid}, up " in text.stdout
    assert "10 accepted = 10 written" in text.stdout
    assert str(daemon.logdir / "run") in text.stdout
    assert "trouble: none" in text.stdout
    assert data["pid"] == daemon.pid
    assert data["sessions"][0]["program"] == "test"
    assert data["runs"][0]["path"] == str(daemon.logdir / "run")


def test_status_and_stop_without_a_daemon(runtime_directory: Path) -> None:
    address = f"unix:{runtime_directory}/s"
    assert_refused(boardd("status", "--address", address), 3, f"no daemon at {address}")
    assert_refused(boardd("status"), 3, f"no daemon at {default_address()}")
    assert_refused(boardd("status", BOARDD_ADDRESS=address), 3, f"no daemon at {address}")
    assert_refused(boardd("stop", "--address", address), 3, f"no daemon at {address}")
    assert_refused(boardd("stop", "--address", "127.0.0.1:7"), 2, "stopped over its Unix socket")
    assert_refused(boardd("status", "--address", "nonsense"), 2, "'nonsense'.*unix:/path or host")


def test_a_stopped_daemon_does_not_hold_status_up(daemon: DaemonProcess) -> None:
    with daemon.stop_cont():
        result = boardd("status", "--address", daemon.address, "--timeout", "0.5")
    assert_refused(result, 3, "did not answer in 0.5 s")


def test_stop_waits_no_longer_than_it_may(daemon: DaemonProcess) -> None:
    where = UnixAddress(daemon.socket)
    with daemon.stop_cont():
        for timeout_secs in (0.0, 0.4):
            with (
                taking(timeout_secs),
                pytest.raises(NoDaemonError, match=f"did not answer in .* its pid is {daemon.pid}"),
            ):
                stop(where, timeout_secs=timeout_secs)
    assert stop(where, timeout_secs=1e10) == daemon.pid
    assert daemon.returncode == 0


def test_stop_ends_it_and_waits_until_it_is_gone(daemon: DaemonProcess) -> None:
    result = boardd("stop", "--address", daemon.address)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"boardd (pid {daemon.pid}) has stopped\n"
    assert daemon.returncode == 0
    assert not daemon.socket.exists()


def test_what_is_no_boardd_is_never_signalled(runtime_directory: Path) -> None:
    """The listener is this very process: a signal would end the tests."""
    path = runtime_directory / "s"
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            result = boardd("stop", "--socket", str(path), "--timeout", "1")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.returncode == 3, result.stderr
    assert not received
