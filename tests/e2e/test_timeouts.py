"""Waits end when they are to, in a process of its own and in a forked child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.daemon_process import DaemonProcess
from support.lateness import LATE_SECS

#: Of the ends of a process, the one that is held up least by other processes counts.
TRIES = 3

PROCESS = """
import json, os, signal, sys, threading, time

from boardd_client import SummaryWriter
from support.lateness import Control

where, logdir, address, daemon = sys.argv[1:]
sw = SummaryWriter(logdir, address=address)
sw.add_scalar("loss", 0.0, 0)
assert sw.flush(timeout=60)
if where == "forked child" and (pid := os.fork()):
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

took = {}

def timed(name, call, **arguments):
    control = Control(arguments["timeout"]) if arguments["timeout"] < 60 else None
    begin = time.monotonic()
    result = call(**arguments)
    secs = time.monotonic() - begin
    took[name] = [bool(result), secs, control.late_secs() if control else 0.0]

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
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    took: dict[str, Any] = json.loads(done.stdout)
    assert took["long"][0]
    assert took["long and synced"][0]
    expected = {"synced": 0.5, "none": 0, "short": 0.5, "synced beside": 0.5, "close": 0.5}
    for name, secs in (expected | {"patient": 6}).items():
        reached, waited, late_secs = took[name]
        assert not reached, name
        assert secs <= waited < secs + LATE_SECS + late_secs, (name, waited, late_secs)


EXIT_SECS = 0.5

EXIT = f"""
import atexit, os, signal, sys, time

def tell():
    took = time.monotonic() - begin
    print(took, control.late_secs(), flush=True)

atexit.register(tell)  # the first to be registered is the last to be called

from boardd_client import SummaryWriter
from support.lateness import Control

sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
sw.add_scalar("loss", 0.0, 0)
if len(sys.argv) > 3:
    assert sw.flush(timeout=60)
    os.kill(int(sys.argv[3]), signal.SIGSTOP)
    sw.add_scalar("loss", 1.0, 1)
control = Control({EXIT_SECS})
begin = time.monotonic()
"""


def end_secs(*arguments: str) -> tuple[float, float]:
    """How long the end of a process took, and how late that may be."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=True,
    )
    took_secs, late_secs = map(float, done.stdout.split())
    return took_secs, late_secs


def assert_ends_in_time(end: Callable[[], tuple[float, float]]) -> None:
    """Of ``end``, which returns what ``end_secs`` does."""
    for _ in range(TRIES):
        took_secs, late_secs = end()
        assert took_secs >= EXIT_SECS
        if took_secs < EXIT_SECS + LATE_SECS + late_secs:
            return
    pytest.fail(f"the end of a process took {took_secs} s, {TRIES} times")


def test_the_end_of_a_process_waits_no_longer_for_a_stopped_daemon(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", str(EXIT_SECS))

    def stopping() -> tuple[float, float]:
        try:
            return end_secs(str(tmp_path / "logs"), daemon.address, str(daemon.pid))
        finally:
            daemon.signal(signal.SIGCONT)

    assert_ends_in_time(stopping)
    with daemon.stop_cont():
        assert_ends_in_time(lambda: end_secs(str(tmp_path / "logs"), daemon.address))


def test_the_end_of_a_process_waits_no_longer_for_a_daemon_that_starts(
    runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", str(EXIT_SECS))
    monkeypatch.setenv("BOARDD_COMMAND", "/bin/sh -c 'sleep 20'")
    # Nor for what is gathered of where the run came from.
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\nexec sleep 5\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BOARDD_PROVENANCE", "1")
    address = f"unix:{runtime_directory}/boardd.sock"
    assert_ends_in_time(lambda: end_secs(str(tmp_path / "logs"), address))
