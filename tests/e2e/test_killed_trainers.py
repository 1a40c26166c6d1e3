"""A training process that is killed: all that it logged is written, whatever the daemon does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.waiting import wait_until

#: Begins a run; "ready" once the daemon holds its memory. Then, what each test adds.
BEGIN = """
import os, sys, time
import numpy as np
from boardd_client import SummaryWriter

def told(text):
    os.write(1, f"{text}\\n".encode())

sw = SummaryWriter(sys.argv[1], address=sys.argv[2], verbose=False)
sw.add_scalar("first", 1.0, 0)
assert sw.flush(timeout=60)
assert sw.statistics().transport == "shared"
told("ready")
sys.stdin.readline()
"""

EVERYTHING = """
values = np.arange(1000, dtype=np.float32)
step = 0
while True:
    step += 1
    sw.add_scalar("loss", step / 2, step)
    sw.add_scalar("curves", {"a": step, "b": -step, "c": 0.5}, step)
    if step % 10 == 0:
        sw.add_scalar(f"late/{step}", 1.0, step)
        sw.add_histogram("values", values + step, step, bins=10)
    told(step)
"""


@contextmanager
def trainer(code: str, daemon: DaemonProcess, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A script that has shared its memory and waits for a line to go on; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, str(daemon.logdir / "run"), daemon.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        try:
            assert _output(process).readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def wait_drained(daemon: DaemonProcess, *, in_a_call: bool = False) -> None:
    """Waits until the daemon has noticed the death, and written and forgotten the session.

    A process that died ``in_a_call`` may have left the record of that unfinished.
    """
    wait_until(lambda: not daemon.status().sessions, "the session ends")
    counters = daemon.status().counters
    rejected = sum(count.records for count in counters.rejected)
    assert counters.accepted == counters.written + rejected
    assert counters.pending == 0
    assert rejected <= in_a_call


def check_everything(daemon: DaemonProcess, last: int) -> None:
    """Checks that all calls up to ``last`` are there once and in order; one more may be."""
    run = read_run(daemon.logdir / "run")
    steps = [point.step for point in run.scalars["loss"]]
    assert steps in (list(range(1, last + 1)), list(range(1, last + 2)))
    assert [point.value for point in run.scalars["loss"]] == [step / 2 for step in steps]
    for name, factor in (("a", 1), ("b", -1)):
        curve = read_run(daemon.logdir / "run" / "curves" / name).scalars["curves"]
        assert [point.step for point in curve][:last] == list(range(1, last + 1))
        assert all(point.value == factor * point.step for point in curve)
    tens = list(range(10, last + 1, 10))
    assert [point.step for point in run.histograms["values"]][: len(tens)] == tens
    for point in run.histograms["values"]:
        assert point.buckets[0, 0] == point.step
        np.testing.assert_array_equal(point.buckets[:, 2], 100)
    assert all(f"late/{step}" in run.scalars for step in tens)


@pytest.mark.parametrize("steps", [11, 37, 250])
def test_all_that_was_logged_before_a_kill_is_written(steps: int, daemon: DaemonProcess) -> None:
    with trainer(EVERYTHING, daemon) as process:
        go_on(process)
        for last in range(1, steps + 1):
            assert _output(process).readline() == f"{last}\n"
        process.kill()
        last = max([steps, *map(int, _output(process).read().split())])
    wait_drained(daemon, in_a_call=True)
    check_everything(daemon, last)
    daemon.wait_log("ended without closing")


def test_the_daemon_may_be_stopped_all_the_while(daemon: DaemonProcess) -> None:
    with trainer(EVERYTHING, daemon) as process:
        with daemon.stop_cont():
            go_on(process)
            for last in range(1, 101):
                assert _output(process).readline() == f"{last}\n"
            process.kill()
            last = max([100, *map(int, _output(process).read().split())])
        wait_drained(daemon, in_a_call=True)
    check_everything(daemon, last)


LARGE = """
for step in range(3):
    sw.add_histogram("large", np.arange(500_000 + step, dtype=np.float32), step, bins=4)
told("logged")
sys.stdin.readline()  # until it is killed
"""


def test_a_tensor_with_a_map_of_its_own_is_not_lost_either(daemon: DaemonProcess) -> None:
    with trainer(LARGE, daemon, BOARDD_ARENA_BYTES=str(1 << 20)) as process:
        with daemon.stop_cont():
            go_on(process)
            assert _output(process).readline() == "logged\n"
            process.kill()
        wait_drained(daemon)
    points = read_run(daemon.logdir / "run").histograms["large"]
    assert [point.buckets[:, 2].sum() for point in points] == [500_000, 500_001, 500_002]


LAZY = """
import mxnet as mx
values = mx.nd.arange(1000)
for step in range(5):
    sw.add_scalar("lazy", values.mean() + step, step)
    sw.add_histogram("nd", values + step, step, bins=10)
mx.nd.waitall()
assert sw._attached.sender.wait_committed(time.monotonic() + 60)
told("copied")
sys.stdin.readline()  # until it is killed
"""


def test_a_lazy_value_is_safe_once_it_is_copied(daemon: DaemonProcess) -> None:
    with trainer(LAZY, daemon) as process:
        with daemon.stop_cont():
            go_on(process)
            assert _output(process).readline() == "copied\n"
            process.kill()
        wait_drained(daemon)
    run = read_run(daemon.logdir / "run")
    assert [point.value for point in run.scalars["lazy"]] == [499.5 + step for step in range(5)]
    assert [point.buckets[0, 0] for point in run.histograms["nd"]] == list(range(5))


LEAVES = """
for step in range(1000):
    sw.add_scalar("loss", step, step)
os._exit(0)
"""


def test_a_process_that_leaves_by_os_exit_loses_nothing(daemon: DaemonProcess) -> None:
    with trainer(LEAVES, daemon) as process:
        with daemon.stop_cont():
            go_on(process)
            process.wait(60)
        wait_drained(daemon)
    assert len(read_run(daemon.logdir / "run").scalars["loss"]) == 1000
