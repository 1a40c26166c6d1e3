"""What a process leaves for the interpreter's end: no thread of gRPC's, and none of its calls.

A thread that is frozen there with a call's lock keeps the process from ending, once in hundreds
of times. That cannot be waited for in a test; that nothing is left for it to happen to, can.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess

PROCESS = """
import atexit, gc, os, sys, threading

gc.disable()  # a cycle would be collected in time only by chance

def check():
    import grpc
    threads = [t for t in threading.enumerate() if t is not threading.main_thread()]
    calls = [o for o in gc.get_objects() if isinstance(o, (grpc.Call, grpc.Future))]
    if threads or calls:
        print("left:", threads, calls, flush=True)
        os._exit(3)

atexit.register(check)  # runs after what is registered later

from boardd_client import SummaryWriter

way, logdir, address = sys.argv[1:]
sw = SummaryWriter(logdir, address=address)
for step in range(100):
    sw.add_scalar("loss", step, step)
sw.add_histogram("values", [1.0, 2.0], 0)
if way == "closed":
    sw.close()
elif way == "flushed":
    assert sw.flush(timeout=60)
elif way == "collected":
    del sw
elif way == "reopened":
    sw.close()
    sw.reopen()
    sw.add_scalar("loss", 100, 100)
    sw.close()
"""


def run(way: str, logdir: Path, address: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, way, str(logdir), address],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("way", ["closed", "flushed", "left open", "collected", "reopened"])
def test_nothing_of_grpc_is_left_at_the_end(
    way: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    run(way, tmp_path / "logs", daemon.address)


def test_nothing_is_left_where_the_daemon_had_to_be_started(
    runtime_directory: Path, tmp_path: Path
) -> None:
    run("closed", tmp_path / "logs", f"unix:{runtime_directory}/boardd.sock")


def test_nothing_is_left_where_no_daemon_answers(
    runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0.2")
    run("left open", tmp_path / "logs", f"unix:{runtime_directory}/boardd.sock")


def test_nothing_is_left_where_the_daemon_is_stopped(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0.2")
    with daemon.stop_cont():
        run("left open", tmp_path / "logs", daemon.address)
