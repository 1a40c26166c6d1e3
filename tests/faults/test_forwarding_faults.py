"""Ranks on two hosts, whose daemons and whose aggregator are killed at any moment."""

from __future__ import annotations

import math
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.independent_reader import points
from support.rank_script import EDGES, HISTOGRAM_EVERY, STEPS, loss, weights
from support.tensorboard_reader import read_histograms

RANKS, HOSTS = 4, 2
PACE_SECS = 0.01
KILLS = 8
TESTS = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Site:
    """A daemon that begins anew at its place each time it is killed."""

    def __init__(self, path: Path, address: Path, *flags: str) -> None:
        path.mkdir()
        self._path, self._flags = path, flags
        self.socket = address
        self.daemon = DaemonProcess(path, *flags, socket=address)
        self.run = self.daemon.logdir / "run"

    def kill(self) -> None:
        """Kills the daemon, and starts the next one."""
        self.daemon.kill()
        self.daemon.close()
        self.daemon = DaemonProcess(self._path, *self._flags, socket=self.socket)


def rank_at(site: Site, rank: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "support.rank_script", str(site.run), str(rank), str(PACE_SECS)],
        cwd=TESTS,
        env={
            **os.environ,
            "BOARDD_ADDRESS": f"unix:{site.socket}",
            "BOARDD_AUTOSTART": "0",
            "BOARDD_RANK": str(rank),
            "BOARDD_WORLD_SIZE": str(RANKS),
            "BOARDD_LAUNCH": "launch",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("MERGED_SWEEP", "1"))))
def test_every_point_is_there_once_whichever_daemon_is_killed(
    seed: int, tmp_path: Path, runtime_directory: Path
) -> None:
    chance = random.Random(seed)
    port = free_port()
    with ExitStack() as stack:
        aggregator = Site(
            tmp_path / "aggregator", runtime_directory / "a", "--listen", f"127.0.0.1:{port}"
        )
        stack.callback(lambda: aggregator.daemon.close())
        hosts = [
            Site(
                tmp_path / f"host{number}",
                runtime_directory / f"h{number}",
                *("--forward-to", f"127.0.0.1:{port}"),
            )
            for number in range(HOSTS)
        ]
        for host in hosts:
            stack.callback(lambda host=host: host.daemon.close())
        processes = [rank_at(hosts[rank * HOSTS // RANKS], rank) for rank in range(RANKS)]
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.0, 0.4))  # the moment of the kill
            chance.choice([aggregator, *hosts]).kill()
        assert [process.wait(120) for process in processes] == [0] * RANKS
        for site in (*hosts, aggregator):
            site.daemon.wait_closed(60)
        run = aggregator.run
    for rank in range(RANKS):
        own = [(step, float(np.float32(loss(rank, step)))) for step in range(STEPS)]
        assert points(run / f"rank_{rank}", "loss") == own
    for tag, count in (("loss", RANKS), ("total", 1)):
        merged = [math.fsum(loss(rank, step) for rank in range(RANKS)) for step in range(STEPS)]
        found = points(run, tag)
        assert found == [
            (step, float(np.float32(value / count))) for step, value in enumerate(merged)
        ]
    lowest = [min(loss(rank, step) for rank in range(RANKS)) for step in range(STEPS)]
    assert points(run / "min", "loss") == [
        (step, float(np.float32(value))) for step, value in enumerate(lowest)
    ]
    counted = read_histograms(run)["."]["weights"]
    assert [one.step for one in counted] == list(range(0, STEPS, HISTOGRAM_EVERY))
    for one in counted:
        together = np.concatenate([weights(rank, one.step) for rank in range(RANKS)])
        counts, _ = np.histogram(together, EDGES)
        shown = [number for _, _, number in one.buckets.tolist() if number]
        assert shown == [number for number in counts.tolist() if number]
