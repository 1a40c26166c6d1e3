"""A host whose daemon passes on what its ranks log, when the other daemon is not there at first."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.independent_reader import points
from support.tensorboard_reader import read_events

RANKS, STEPS = 2, 20
WAIT_SECS = 60.0

WORKER = """
import sys
from boardd_client import SummaryWriter
rank = int(sys.argv[3])
sw = SummaryWriter(sys.argv[1], per_rank=sys.argv[2])
for step in range(20):
    sw.add_scalars("curves", {"a": float(rank), "b": 1.0}, step)
    sw.add_scalar("loss", rank + step, step)
sw.add_histogram("weights", [1.0, 2.0], 5, bins=[0.0, 1.5, 3.0])
assert sw.flush(timeout=60)
assert sw.close(timeout=60)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found


def log(daemon: DaemonProcess, per_rank: str) -> None:
    """All ranks of a launch log, and end when what they logged is written."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(daemon.logdir / "run"), per_rank, str(rank)],
            env={
                **os.environ,
                "BOARDD_ADDRESS": daemon.address,
                "BOARDD_RANK": str(rank),
                "BOARDD_WORLD_SIZE": str(RANKS),
            },
        )
        for rank in range(RANKS)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * RANKS


def test_what_could_not_be_passed_on_waits_for_the_next_daemons(
    port: int, tmp_path: Path, runtime_directory: Path
) -> None:
    (tmp_path / "host").mkdir()
    flags = ("--forward-to", f"127.0.0.1:{port}", "--drain-secs", "0.5")
    place = runtime_directory / "s"
    with DaemonProcess(tmp_path / "host", *flags, socket=place) as host:
        log(host, "scalars")
        for merged in host.status().runs:
            assert f"forwarding to 127.0.0.1:{port}, " in merged.forwarding
        assert host.terminate() == 0
    (tmp_path / "near").mkdir()
    with (
        DaemonProcess(tmp_path / "near", "--listen", f"127.0.0.1:{port}") as aggregator,
        DaemonProcess(tmp_path / "host", *flags, socket=place) as host,
    ):
        host.wait_closed(WAIT_SECS)
        aggregator.wait_closed(WAIT_SECS)
        run = aggregator.logdir / "run"
        assert points(run, "loss") == [(step, step + 0.5) for step in range(STEPS)]
        for rank in range(RANKS):
            expected = [(step, float(rank + step)) for step in range(STEPS)]
            assert points(run / f"rank_{rank}", "loss") == expected
            assert points(run / f"rank_{rank}" / "curves" / "a", "curves") == [
                (step, float(rank)) for step in range(STEPS)
            ]
        assert points(run / "curves" / "a", "curves") == [(step, 0.5) for step in range(STEPS)]
        left = {path.name for path in (host.logdir / "run").iterdir()}
        assert left == {".boardd-group", "curves"}


@pytest.mark.parametrize(("per_rank", "kept"), [("all", {"loss", "weights"}), ("none", set())])
def test_each_rank_has_the_series_that_it_asks_for(
    per_rank: str, kept: set[str], port: int, tmp_path: Path
) -> None:
    for name in ("host", "near"):
        (tmp_path / name).mkdir()
    with (
        DaemonProcess(tmp_path / "near", "--listen", f"127.0.0.1:{port}") as aggregator,
        DaemonProcess(tmp_path / "host", "--forward-to", f"127.0.0.1:{port}") as host,
    ):
        log(host, per_rank)
        host.wait_closed(WAIT_SECS)
        aggregator.wait_closed(WAIT_SECS)
        run = aggregator.logdir / "run"
        assert points(run, "loss") == [(step, step + 0.5) for step in range(STEPS)]
        assert (run / "rank_1").exists() == bool(kept)
        if kept:
            tags = {
                value.tag for event in read_events(run / "rank_1") for value in event.summary.value
            }
            assert kept <= tags
