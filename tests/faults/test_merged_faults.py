"""Merged points when the daemon or a rank is killed at any moment, in the middle of points.

What ranks contributed is computed anew with NumPy, and the event files are read by hand.
"""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.independent_reader import points
from support.rank_script import EDGES, HISTOGRAM_EVERY, LAST_STAGE, STEPS, loss, weights
from support.tensorboard_reader import read_histograms
from support.waiting import wait_until

RANKS = 4
TESTS = Path(__file__).parents[1]
PACE_SECS = 0.01


@contextmanager
def ranks(
    logdir: Path, address: str, victim: int | None = None
) -> Iterator[list[subprocess.Popen[str]]]:
    """All ranks of a launch at work; whatever is left of them is killed in the end.

    The ``victim`` does not end by itself, however late it is killed.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "support.rank_script", str(logdir), str(rank), str(PACE_SECS)],
            cwd=TESTS,
            env={
                **os.environ,
                "BOARDD_ADDRESS": address,
                "BOARDD_AUTOSTART": "0",
                "BOARDD_RANK": str(rank),
                "BOARDD_WORLD_SIZE": str(RANKS),
            },
            stdin=subprocess.PIPE if rank == victim else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=120)


def end_daemons(tmp_path: Path, socket: Path, times: int, seed: int) -> None:
    """Lets one daemon after the other serve at ``socket``, and ends each at some moment."""
    moments = random.Random(seed)
    for _ in range(times):
        with DaemonProcess(tmp_path, socket=socket) as daemon:
            time.sleep(moments.uniform(0.05, 0.5))  # the moment of its end
            os.kill(daemon.pid, moments.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
            daemon.wait()


def expected(step: int, tag: str, count: int = RANKS) -> dict[str, float]:
    """The point of a tag, by the directory that has it."""
    values = [loss(rank, step) for rank in range(count)]
    if tag == "stage":
        values = [float(rank) for rank in range(LAST_STAGE, count)]
    total = math.fsum(values)
    merged = {"loss": total / len(values), "total": total, "stage": max(values)}[tag]
    shown = {"": merged, "min": min(values), "max": max(values)}
    return {where: float(np.float32(value)) for where, value in shown.items()}


def check_histograms(run: Path) -> None:
    found = read_histograms(run)["."]["weights"]
    assert [one.step for one in found] == list(range(0, STEPS, HISTOGRAM_EVERY))
    for one in found:
        together = np.concatenate([weights(rank, one.step) for rank in range(RANKS)])
        counts, _ = np.histogram(together, EDGES)
        shown = [count for _, _, count in one.buckets.tolist() if count]
        assert shown == [count for count in counts.tolist() if count]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("MERGED_SWEEP", "1"))))
def test_every_point_is_there_once_and_in_order_whenever_daemons_end(
    transport: str, seed: int, tmp_path: Path, runtime_directory: Path
) -> None:
    socket, run = runtime_directory / "s", tmp_path / "logs" / "run"
    with ranks(run, f"unix:{socket}") as processes:
        end_daemons(tmp_path, socket, 6, seed)
        with DaemonProcess(tmp_path, "--drain-secs", "60", socket=socket) as daemon:
            assert [process.wait(120) for process in processes] == [0] * RANKS
            daemon.terminate(90)
    for tag in ("loss", "total", "stage"):
        for where in ("", "min", "max"):
            found = points(run / where, tag)
            assert found == [(step, expected(step, tag)[where]) for step in range(STEPS)], tag
    assert [value for _, value in points(run, "boardd/group/coverage")] == [RANKS] * STEPS
    for rank in range(RANKS):
        own = [(step, float(np.float32(loss(rank, step)))) for step in range(STEPS)]
        assert points(run / f"rank_{rank}", "loss") == own
    check_histograms(run)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("MERGED_SWEEP", "1"))))
def test_points_have_what_a_killed_rank_had_logged(
    transport: str, seed: int, tmp_path: Path, runtime_directory: Path
) -> None:
    socket, run = runtime_directory / "s", tmp_path / "logs" / "run"
    victim = 1 + seed % (RANKS - 1)
    with ranks(run, f"unix:{socket}", victim) as processes:
        if transport == "shared":  # by value, what is on its way to a killed daemon is lost
            end_daemons(tmp_path, socket, 2, seed)
        # By value, a client that is gone is told from one that is cut off by its lease alone.
        with DaemonProcess(tmp_path, "--lease-secs", "1", socket=socket) as daemon:
            output = processes[victim].stdout
            assert output is not None
            own = run / f"rank_{victim}"
            for line in output:
                if int(line) >= 40 + seed:
                    break
            wait_until(own.exists)
            processes[victim].kill()
            codes = [process.wait(120) for process in processes]
            assert codes == [-signal.SIGKILL if rank == victim else 0 for rank in range(RANKS)]
            daemon.wait_closed(60)
    logged = {step for step, _ in points(own, "loss")}
    assert logged >= set(range(40 if transport == "shared" else 0))
    merged = points(run, "loss")
    assert [step for step, _ in merged] == list(range(STEPS))
    for step, value in merged:
        there = [rank for rank in range(RANKS) if rank != victim or step in logged]
        mean = math.fsum(loss(rank, step) for rank in there) / len(there)
        assert value == float(np.float32(mean)), step


@pytest.mark.slow
def test_the_next_daemon_finishes_what_a_killed_one_left_open(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket, run = runtime_directory / "s", tmp_path / "logs" / "run"
    with DaemonProcess(tmp_path, socket=socket) as daemon:
        with ranks(run, daemon.address, RANKS - 1) as processes:
            # The last one never begins: all points are open until the grace is over.
            processes[-1].kill()
            assert [process.wait(120) for process in processes[:-1]] == [0] * (RANKS - 1)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
    assert not list(run.glob("events*"))
    with DaemonProcess(tmp_path, "--join-secs", "1", socket=socket) as daemon:
        daemon.wait_closed(60)
    values = [value for _, value in points(run, "loss")]
    count = RANKS - 1
    assert values == [expected(step, "loss", count)[""] for step in range(STEPS)]
