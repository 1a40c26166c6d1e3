"""More runs than descriptors."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.descriptors import popen_with_descriptors
from support.tensorboard_reader import event_files, read_events

pytestmark = pytest.mark.slow

LIMIT = 1024
NAMES = 600
STEPS = 3


@pytest.fixture
def few_descriptors(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that may open ``LIMIT`` files."""
    with DaemonProcess(tmp_path, popen=popen_with_descriptors(LIMIT)) as daemon:
        yield daemon


def test_every_curve_is_written_and_another_trainer_finds_room(
    few_descriptors: DaemonProcess,
) -> None:
    daemon = few_descriptors
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (LIMIT, LIMIT)
    with SummaryWriter(daemon.logdir / "many", address=daemon.address) as sw:
        for step in range(STEPS):
            sw.add_scalars("plot", {f"c{number}": number for number in range(NAMES)}, step)
        assert sw.flush(timeout=60.0)
        assert len(daemon.status().runs) == NAMES + 1
        assert not any(run.trouble for run in daemon.status().runs)
        others = [
            SummaryWriter(daemon.logdir / f"other {number}", address=daemon.address)
            for number in range(10)
        ]
        for other in others:
            other.add_scalar("loss", 1.0, 1)
            assert other.close(timeout=60)
        sw.add_scalars("plot", {f"c{number}": number for number in range(NAMES)}, STEPS)
        assert sw.flush(timeout=60.0)
    for number in range(NAMES):
        run = daemon.logdir / "many" / "plot" / f"c{number}"
        found = [read.step for read in read_events(run) if read.HasField("summary")]
        assert found == list(range(STEPS + 1))
        assert len(event_files(run)) == 1
