"""The client against the real daemon: outages, forks, exits."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from support.commands import boardd
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_scalars
from support.transports import check_transport
from support.waiting import wait_until

#: What a script may take; interpreters and the helper process start slowly on a busy machine.
SCRIPT_SECS = 120.0


def run_script(text: str, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a process of its own and returns what it printed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECS,
        env={**os.environ, **environ},
        check=False,
    )


def steps(logdir: Path, tag: str, run: str = ".") -> list[int]:
    return [point.step for point in read_scalars(logdir, "python")[run][tag]]


def test_every_record_is_written_once_across_kills_of_the_daemon(
    transport: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = daemon.logdir / "run"
    sw = SummaryWriter(logdir, address=daemon.address)
    step = 0

    def log(count: int) -> None:
        nonlocal step
        for _ in range(count):
            sw.add_scalar("loss", float(step), step)
            if step % 10 == 0:
                sw.add_histogram("h", np.arange(1000.0), step, bins=4)
            step += 1
            time.sleep(0.001)

    log(300)
    assert sw.flush(timeout=60)
    check_transport(transport, sw, daemon)
    log(200)
    daemon.kill()
    log(300)
    with DaemonProcess(tmp_path, socket=daemon.socket) as second:
        log(300)
        assert sw.flush(timeout=60)
        check_transport(transport, sw, second)
        assert sw.close(timeout=60)
        counts = sw.statistics()
    assert counts.accepted == counts.written == 1100 + 110
    assert steps(logdir, "loss") == list(range(1100))


def test_a_stopped_daemon_holds_up_no_call_and_gets_everything_later(
    transport: str, daemon: DaemonProcess
) -> None:
    logdir = daemon.logdir / "run"
    sw = SummaryWriter(logdir, address=daemon.address)
    sw.add_scalar("loss", 0.0, 0)
    assert sw.flush(timeout=60)
    check_transport(transport, sw, daemon)
    data = np.zeros(250_000, np.float32)
    took = []
    with daemon.stop_cont():
        for step in range(1, 101):
            begin = time.monotonic()
            sw.add_scalar("loss", 1.0, step)
            sw.add_histogram("h", data, step, bins=10)
            took.append(time.monotonic() - begin)
            time.sleep(0.002)
        begin = time.monotonic()
        assert not sw.flush(timeout=0.3)
        assert time.monotonic() - begin < 30
    assert np.median(took) < 0.01
    assert sw.close(timeout=60)
    assert steps(logdir, "loss") == list(range(101))
    assert sw.statistics().written == 201


LOG_AND_LEAVE = """
import sys, time
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
for step in range(1000):
    sw.add_scalar("loss", 1.0, step)
"""


@pytest.mark.usefixtures("transport")
def test_a_script_that_never_closes_loses_nothing_when_it_ends(daemon: DaemonProcess) -> None:
    done = run_script(LOG_AND_LEAVE, daemon.logdir / "run", daemon.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(daemon.logdir / "run", "loss") == list(range(1000))
    assert not daemon.status().sessions


@pytest.mark.parametrize("ending", ["raise SystemExit(3)", "import os; os.abort()", "1 / 0"])
def test_the_exit_code_is_the_scripts_own(daemon: DaemonProcess, ending: str) -> None:
    done = run_script(LOG_AND_LEAVE + ending, daemon.logdir / "run", daemon.address)
    assert done.returncode == {"r": 3, "i": -signal.SIGABRT, "1": 1}[ending[0]]


def test_a_script_ends_in_time_with_a_daemon_that_is_stopped(
    transport: str, daemon: DaemonProcess
) -> None:
    exit_secs = 1.0
    script = LOG_AND_LEAVE + "\nsw.flush(timeout=60); print('stop me', flush=True); input()\n"
    script += "for step in range(1000): sw.add_scalar('late', 1.0, step)\n"
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(daemon.logdir / "run"), daemon.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BOARDD_EXIT_TIMEOUT_SECS": str(exit_secs)},
    )
    kill = threading.Timer(SCRIPT_SECS, process.kill)
    kill.start()
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stop me\n"
        kill.cancel()
        start_secs = time.monotonic() - begin
        with daemon.stop_cont():
            begin = time.monotonic()
            _, errors = process.communicate("\n", timeout=SCRIPT_SECS)
            took_secs = time.monotonic() - begin
    # A busy machine delays the start as it does the end.
    assert exit_secs <= took_secs < exit_secs + max(5.0, 5 * start_secs)
    assert process.returncode == 0
    fate = {
        "shared": "the daemon has what it needs to write them",
        "by value": "they are lost with this process",
    }
    told = f"boardd: 1000 records not written yet when the process ends: {fate[transport]} ("
    assert told in errors
    if transport == "shared":
        wait_until(lambda: not daemon.status().sessions, "the session ends")
        assert steps(daemon.logdir / "run", "late") == list(range(1000))


FORK = """
import os, sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
sw.add_scalar("parent", 0.0, 0)
assert sw.flush(timeout=60)
children = []
for number in range(4):
    sw.add_scalar("parent", 1.0, number + 1)
    pid = os.fork()
    if pid == 0:
        for step in range(100):
            sw.add_scalar(f"child{number}", 1.0, step)
        if number == 0:
            os._exit(0 if sw.flush(timeout=60) else 1)
        if number == 1:
            os._exit(0 if sw.close(timeout=60) else 1)
        sys.exit(0)  # atexit
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert sw.close(timeout=60)
"""


@pytest.mark.parametrize("support", ["", "1"])
def test_forked_children_log_beside_their_parent(
    transport: str, daemon: DaemonProcess, support: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    environ = {"GRPC_ENABLE_FORK_SUPPORT": support} if support else {}
    done = run_script(FORK, daemon.logdir / "run", daemon.address, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(daemon.logdir / "run", "parent") == list(range(5))
    for number in range(4):
        assert steps(daemon.logdir / "run", f"child{number}") == list(range(100))
    # The first child left by os._exit and did not close, which shared memory tells the daemon.
    left = int(transport == "by value")
    wait_until(lambda: len(daemon.status().sessions) == left, f"{left} sessions")


IDLE_FORK = """
import os, sys, time
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
for number in range(40):
    sw.add_scalar("parent", 1.0, number)
    pid = os.fork()
    if pid == 0:
        if number % 2:
            os._exit(0)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert sw.close(timeout=60)
"""


@pytest.mark.usefixtures("transport")
def test_children_that_do_not_log_neither_hang_nor_disturb(daemon: DaemonProcess) -> None:
    done = run_script(IDLE_FORK, daemon.logdir / "run", daemon.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(daemon.logdir / "run", "parent") == list(range(40))


MULTIPROCESSING = """
import multiprocessing, sys
from boardd_client import SummaryWriter

def log(sw, tag):
    for step in range(50):
        sw.add_scalar(tag, 1.0, step)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    with SummaryWriter(sys.argv[1], address=sys.argv[2]) as sw:
        sw.add_scalar("parent", 1.0, 0)
        children = [context.Process(target=log, args=(sw, f"child{n}")) for n in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0
"""


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_lose_nothing_at_their_end(
    daemon: DaemonProcess, tmp_path: Path, method: str
) -> None:
    # In a process of its own: this one has loaded gRPC, and forks of it are at gRPC's mercy.
    script = tmp_path / "train.py"
    script.write_text(MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, str(script), str(daemon.logdir / "run"), daemon.address, method],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for number in range(2):
        assert steps(daemon.logdir / "run", f"child{number}") == list(range(50))


def test_a_pickled_writer_is_one_of_the_same_run(daemon: DaemonProcess) -> None:
    sw = SummaryWriter(daemon.logdir, address=daemon.address, run="r")
    with pickle.loads(pickle.dumps(sw)) as copy:
        copy.add_scalar("loss", 1.0, 7)
    assert steps(daemon.logdir, "loss", "r") == [7]


SIGTERM = """
import os, signal, sys, threading
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])

def end(*_):
    sw.add_scalar("end", 1.0, 1)
    os._exit(0 if sw.close(timeout=60) else 1)

signal.signal(signal.SIGTERM, end)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
step = 0
while True:
    sw.add_scalar("loss", 1.0, step)
    step += 1
"""


@pytest.mark.usefixtures("transport")
def test_a_signal_handler_may_close_the_writer(daemon: DaemonProcess) -> None:
    done = run_script(SIGTERM, daemon.logdir / "run", daemon.address)
    assert done.returncode == 0, done.stderr


def test_the_run_of_an_unwritable_logdir_is_refused_and_others_go_on(
    daemon: DaemonProcess,
) -> None:
    elsewhere = daemon.logdir / "file" / "run"
    elsewhere.parent.write_text("no directory")
    with SummaryWriter(daemon.logdir / "good", address=daemon.address) as good:
        bad = SummaryWriter(elsewhere, address=daemon.address)
        bad.add_scalar("loss", 1.0, 1)
        good.add_scalar("loss", 1.0, 1)
        result = bad.flush(timeout=60)
        assert not result
        assert "NOT_A_DIRECTORY" in result.reason
        assert not bad.close()
    # Who looks for the curves finds out, too.
    (refused,) = daemon.status().refused_runs
    assert (refused.path, refused.reason) == (str(elsewhere), pb.NOT_A_DIRECTORY)
    assert refused.message in result.reason
    daemon.wait_log(f"run {elsewhere} of .* is refused: NOT_A_DIRECTORY: ")
    text = boardd("status", "--address", daemon.address).stdout
    assert re.search(f"^  {elsewhere} of .*: NOT_A_DIRECTORY: ", text, re.MULTILINE)
    assert steps(daemon.logdir / "good", "loss") == [1]


def test_synced_is_reached(transport: str, daemon: DaemonProcess) -> None:
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60, level="synced")
        check_transport(transport, sw, daemon)


@pytest.mark.usefixtures("transport")
def test_without_a_daemon_one_is_started_and_left_to_itself(
    runtime_directory: Path, tmp_path: Path
) -> None:
    done = run_script(
        LOG_AND_LEAVE,
        tmp_path / "run",
        f"unix:{runtime_directory / 'boardd' / 'boardd.sock'}",
        BOARDD_EXIT_TIMEOUT_SECS="30",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(tmp_path / "run", "loss") == list(range(1000))


def test_importing_the_client_imports_neither_grpc_nor_a_framework() -> None:
    code = "import sys, boardd_client; print({'grpc', 'mxnet', 'torch', 'jax'} & {*sys.modules})"
    assert run_script(code).stdout == "set()\n"
