"""Spawn, threads, DataLoader workers, and a trainer that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_events
from support.transports import check_transport
from support.waiting import wait_until

TRAINER = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
for step in range(100):
    sw.add_scalar("loss", step, step)
assert sw.flush(timeout=60)
print("written", flush=True)
while True:
    step += 1
    sw.add_scalar("loss", step, step)
"""


def logged_steps(directory: Path, tag: str) -> list[int]:
    return [
        event.step
        for event in read_events(directory)
        for value in event.summary.value
        if value.tag == tag
    ]


def log_in_child(sw: SummaryWriter, tag: str) -> None:
    for step in range(20):
        sw.add_scalar(tag, step, step)
    if not sw.flush(timeout=60):
        os._exit(3)


@pytest.mark.usefixtures("transport")
def test_a_spawned_child_gets_the_writer_pickled(daemon: DaemonProcess, tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    with SummaryWriter(str(logdir), address=daemon.address, run="spawned") as sw:
        process = multiprocessing.get_context("spawn").Process(
            target=log_in_child, args=(sw, "child")
        )
        process.start()
        process.join(60)
        assert process.exitcode == 0
    assert logged_steps(logdir / "spawned", "child") == list(range(20))


@pytest.mark.usefixtures("transport")
def test_a_killed_trainer_loses_nothing_that_was_written(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(logdir), daemon.address], stdout=subprocess.PIPE
    )
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == b"written\n"
    trainer.kill()
    trainer.wait(timeout=120)
    trainer.stdout.close()
    with SummaryWriter(str(logdir), address=daemon.address) as sw:
        sw.add_scalar("other", 1.0, 0)
        assert sw.flush(timeout=60)
    assert logged_steps(logdir, "loss")[:100] == list(range(100))
    assert logged_steps(logdir, "other") == [0]


def test_any_thread_may_log(transport: str, daemon: DaemonProcess, tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    with SummaryWriter(str(logdir), address=daemon.address) as sw:

        def log(name: str) -> None:
            for step in range(500):
                sw.add_scalar(name, step, step)
                if step % 100 == 0:
                    sw.add_histogram(f"{name}/values", np.arange(100.0) + step, step, bins=4)

        threads = [threading.Thread(target=log, args=(f"thread{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sw.flush(timeout=60)
        statistics = sw.statistics()
        assert statistics.accepted == statistics.written == 4 * 505
        check_transport(transport, sw, daemon)
    for i in range(4):
        assert logged_steps(logdir, f"thread{i}") == list(range(500))
        assert logged_steps(logdir, f"thread{i}/values") == [0, 100, 200, 300, 400]


@pytest.mark.usefixtures("transport")
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_a_gluon_data_loader_with_workers(daemon: DaemonProcess, tmp_path: Path) -> None:
    mx = pytest.importorskip("mxnet", reason="MXNet is not installed")
    logdir = tmp_path / "logs"
    data = mx.gluon.data.ArrayDataset(np.arange(64, dtype=np.float32).reshape(32, 2))
    with SummaryWriter(str(logdir), address=daemon.address) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        loader = mx.gluon.data.DataLoader(data, batch_size=4, num_workers=2)
        for step, batch in enumerate(loader, start=1):
            sw.add_scalar("loss", batch.mean(), step)
        assert sw.flush(timeout=60)
        del loader
    assert logged_steps(logdir, "loss") == list(range(9))


EXEC = """
import os, sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
sw.add_scalar("loss", 0, 0)
assert sw.flush(timeout=60)
for step in range(1, 1000):
    sw.add_scalar("loss", step, step)
os.execv(sys.executable, [sys.executable, "-c", "print('exec'); input()"])
"""


def test_what_a_program_logged_before_exec_is_written(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    with subprocess.Popen(
        [sys.executable, "-c", EXEC, str(logdir), daemon.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "exec\n"
        # While the new program runs, in the same process: the session is over for the daemon.
        wait_until(lambda: not daemon.status().sessions)
        assert logged_steps(logdir, "loss") == list(range(1000))
        assert process.poll() is None
        process.communicate("\n", timeout=120)


LEFT_BEHIND = """
import os, signal, subprocess, sys, time
from boardd_client import SummaryWriter
how, logdir, address = sys.argv[1:]
sw = SummaryWriter(logdir, address=address)
sw.add_scalar("loss", 0, 0)
assert sw.flush(timeout=60)
if how == "subprocess":
    print(subprocess.Popen(["sleep", "60"], close_fds=False).pid, flush=True)
elif pid := os.fork():
    print(pid, flush=True)
else:
    time.sleep(60)
    os._exit(0)
for step in range(1, 100):
    sw.add_scalar("loss", step, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["subprocess", "fork"])
def test_what_a_trainer_started_does_not_keep_its_session_open(
    how: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND, how, str(logdir), daemon.address],
        stdout=subprocess.PIPE,
    ) as trainer:
        assert trainer.stdout is not None
        left = int(trainer.stdout.readline())
        try:
            wait_until(lambda: not daemon.status().sessions)
            os.kill(left, 0)
        finally:
            os.kill(left, signal.SIGKILL)
    assert logged_steps(logdir, "loss") == list(range(100))


FORKED = """
import os, sys, threading
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
sw.add_scalar("parent", 0, 0)
assert sw.flush(timeout=60)
if pid := os.fork():
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    sw.add_scalar("parent", 1, 1)
    assert sw.close(timeout=60)
else:
    assert sw.statistics().accepted == 0
    sw.add_scalar("child", 0, 0)
    assert sw.flush(timeout=60)
    os._exit(0)
"""


@pytest.mark.usefixtures("transport")
def test_a_forked_child_logs_to_the_same_run_in_a_session_of_its_own(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    subprocess.run(
        [sys.executable, "-c", FORKED, str(logdir), daemon.address], check=True, timeout=120
    )
    assert logged_steps(logdir, "parent") == [0, 1]
    assert logged_steps(logdir, "child") == [0]
