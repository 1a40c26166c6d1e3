"""The daemon's own environment changes while it runs: no record is rejected for that."""

from __future__ import annotations

import shutil
from pathlib import Path

import boardd
import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_events

TESTS = Path(__file__).resolve().parents[1]


def copy_of_boardd(directory: Path) -> Path:
    """The daemon's package alone, to be found first by ``PYTHONPATH=directory``."""
    (source,) = boardd.__path__
    shutil.copytree(source, directory / "boardd")  # with its compiled kernels
    return directory / "boardd"


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone", ["reduce/histogram/*kernels.py", "events/scalars_kernel.py"], ids=["reduce", "encode"]
)
def test_what_needs_a_module_that_is_gone_waits_for_the_next_daemon(
    gone: str, tmp_path: Path
) -> None:
    package = copy_of_boardd(tmp_path / "environment")
    for path in package.glob(gone):
        path.unlink()
    environ = {"PYTHONPATH": f"{package.parent}:{TESTS}"}
    first = DaemonProcess(tmp_path, environ=environ, module="support.kernel_daemon")
    try:
        with SummaryWriter(tmp_path / "logs", address=first.address) as sw:
            for step in range(3):
                sw.add_histogram("weights", np.arange(9.0), step, bins=3)
            for step in range(2000):
                sw.add_scalar("loss", 0.5, step)
            assert first.wait() == 1
            first.wait_log("environment was moved or changed.*Error: .*kernel")
            assert "defect" not in first.log
            with DaemonProcess(tmp_path, socket=first.socket):
                assert sw.close(timeout=60)
    finally:
        first.close()
    tags = [value.tag for event in read_events(tmp_path / "logs") for value in event.summary.value]
    assert sorted(tags) == ["loss"] * 2000 + ["weights"] * 3
