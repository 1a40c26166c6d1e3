"""Waits end when they are to, in a process of its own and in a forked child."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon_process import DaemonProcess

#: By how much a wait may exceed its timeout on a busy machine.
LATE_SECS = 0.7

PROCESS = """
import json, os, signal, sys, threading, time

from boardd_client import SummaryWriter

where, logdir, address, daemon = sys.argv[1:]
sw = SummaryWriter(logdir, address=address)
sw.add_scalar("loss", 0.0, 0)
assert sw.flush(timeout=30)
if where == "forked child" and (pid := os.fork()):
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

took = {}

def timed(name, call, **arguments):
    begin = time.monotonic()
    result = call(**arguments)
    took[name] = [bool(result), time.monotonic() - begin]

sw.add_scalar("loss", 1.0, 1)
timed("long", sw.flush, timeout=1e10)
timed("long and synced", sw.flush, timeout=10**400, level="synced")
os.kill(int(daemon), signal.SIGSTOP)
try:
    # The records are written: now only the daemon's answer can be waited for.
    timed("synced", sw.flush, timeout=0.5, level="synced")
    sw.add_scalar("loss", 2.0, 2)
    patient = threading.Thread(target=timed, args=("patient", sw.flush), kwargs={"timeout": 6})
    patient.start()
    timed("none", sw.flush, timeout=0)
    timed("short", sw.flush, timeout=0.5)
    timed("synced beside", sw.flush, timeout=0.5, level="synced")
    patient.join()
    timed("close", sw.close, timeout=0.5)
finally:
    os.kill(int(daemon), signal.SIGCONT)
print(json.dumps(took), flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("where", ["process of its own", "forked child"])
def test_flush_and_close_take_as_long_as_they_may(
    where: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, where, str(logdir), daemon.address, str(daemon.pid)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    took: dict[str, Any] = json.loads(done.stdout)
    assert took["long"][0]
    assert took["long and synced"][0]
    expected = {"synced": 0.5, "none": 0, "short": 0.5, "synced beside": 0.5, "close": 0.5}
    for name, secs in (expected | {"patient": 6}).items():
        reached, waited = took[name]
        assert not reached, name
        assert secs <= waited < secs + LATE_SECS, (name, waited)


EXIT = """
import os, signal, sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
sw.add_scalar("loss", 0.0, 0)
if len(sys.argv) > 3:
    assert sw.flush(timeout=30)
    os.kill(int(sys.argv[3]), signal.SIGSTOP)
    sw.add_scalar("loss", 1.0, 1)
import time
print(time.monotonic(), flush=True)
"""


def exit_secs(*arguments: str) -> float:
    """How long a process takes to end after the last line of its script."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
    )
    return time.monotonic() - float(done.stdout)


def test_the_end_of_a_process_waits_no_longer_for_a_stopped_daemon(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0.5")
    try:
        took = exit_secs(str(tmp_path / "logs"), daemon.address, str(daemon.pid))
    finally:
        daemon.signal(signal.SIGCONT)
    assert 0.5 <= took < 0.5 + LATE_SECS
    with daemon.stop_cont():
        took = exit_secs(str(tmp_path / "logs"), daemon.address)
    assert 0.5 <= took < 0.5 + LATE_SECS


def test_the_end_of_a_process_waits_no_longer_for_a_daemon_that_starts(
    runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0.5")
    monkeypatch.setenv("BOARDD_COMMAND", "/bin/sh -c 'sleep 20'")
    took = exit_secs(str(tmp_path / "logs"), f"unix:{runtime_directory}/boardd.sock")
    assert 0.5 <= took < 0.5 + LATE_SECS
