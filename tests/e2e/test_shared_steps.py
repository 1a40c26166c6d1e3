"""Worker processes that log to one run in turns: its steps rise all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boardd.runs.writing.hold_back import HOLD_SECS
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, event_files, read_events, read_scalars

WORKERS = """
import multiprocessing, os, sys, time
from boardd_client import SummaryWriter

sw = SummaryWriter(sys.argv[1])
workers, points = int(sys.argv[2]), int(sys.argv[3])
fork = multiprocessing.get_context("fork")
counter = fork.Value("q", 0)

def work():
    while True:
        with counter.get_lock():
            step = counter.value
            counter.value += 1
        if step >= points:
            break
        sw.add_scalar("loss", step, step)
        if step % 10 == 0:
            sw.add_histogram("weights", [1.0, 2.0], step)
        time.sleep(0.002)
    sys.exit(0 if sw.close(timeout=60) else 1)

children = [fork.Process(target=work) for _ in range(workers)]
for child in children:
    child.start()
for child in children:
    child.join()
sys.exit(any(child.exitcode for child in children))
"""


def work(daemon: DaemonProcess, logdir: Path, workers: int, points: int) -> None:
    command = [sys.executable, "-c", WORKERS, str(logdir), str(workers), str(points)]
    environ = {**os.environ, "BOARDD_ADDRESS": daemon.address}
    assert subprocess.run(command, env=environ, timeout=120, check=False).returncode == 0


def not_overtaken(steps: list[int]) -> list[int]:
    """What TensorBoard has to show: a late step hides those before it that are higher."""
    shown: list[int] = []
    for step in steps:
        while shown and shown[-1] >= step:
            shown.pop()
        shown.append(step)
    return shown


@pytest.mark.usefixtures("transport")
def test_workers_that_share_a_counter_make_one_rising_curve(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs" / "run"
    work(daemon, logdir, workers=4, points=400)
    steps = [event.step for event in read_events(logdir) if event.summary.value]
    assert len(steps) == 440
    scalars = [
        event.step
        for event in read_events(logdir)
        if any(value.tag == "loss" for value in event.summary.value)
    ]
    late = sum(step < max(scalars[:index], default=0) for index, step in enumerate(scalars))
    # Some may be late for their place on a busy machine, and then the log says so.
    assert late <= len(scalars) // 20, scalars
    assert sorted(scalars) == list(range(400))
    assert ("steps of tag 'loss' go backwards" in daemon.log) == (late > 0)
    assert len(event_files(logdir)) == 1
    for loader in LOADERS:
        points = read_scalars(logdir.parent, loader)["run"]["loss"]
        steps = [point.step for point in points]
        assert set(steps) >= set(not_overtaken(scalars)), scalars
        assert late or steps == list(range(400))


IDLE = """
import sys
from boardd_client import SummaryWriter

with SummaryWriter(sys.argv[1], address=sys.argv[2]) as sw:
    sw.add_scalar("of another", 0.0, 0)
    assert sw.flush(timeout=60)
    print(flush=True)
    sys.stdin.readline()
"""


def test_a_flush_does_not_wait_for_a_process_that_logs_under_other_tags(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs" / "run"
    command = [sys.executable, "-c", IDLE, str(logdir), daemon.address]
    with (
        SummaryWriter(logdir, address=daemon.address) as sw,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle,
    ):
        assert idle.stdout is not None
        assert idle.stdout.readline() == b"\n"
        deadline = time.monotonic() + 120.0
        flushed_secs = HOLD_SECS
        # Once it is no newcomer any more.
        while flushed_secs >= HOLD_SECS / 2:
            assert time.monotonic() < deadline
            begun = time.monotonic()
            sw.add_scalar("loss", 0.0, 0)
            assert sw.flush(timeout=60)
            flushed_secs = time.monotonic() - begun
        idle.communicate(b"\n", timeout=120)
