"""A daemon whose clients have nothing to say for a while."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.waiting import wait_until


def compiler_bytes(pid: int) -> int:
    """How much of numba's compiler is resident in a process."""
    total, is_inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.partition(" ")[0]:
            is_inside = "libllvmlite" in line
        elif is_inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.slow
def test_a_daemon_gives_memory_back_while_a_session_is_open_and_quiet(tmp_path: Path):
    values = np.arange(100_000, dtype=np.float32)
    with (
        DaemonProcess(tmp_path, popen=subprocess.Popen) as daemon,
        SummaryWriter(str(daemon.logdir), address=daemon.address) as writer,
    ):
        writer.add_histogram("values", values, bins=1000, global_step=0)
        assert writer.flush(60)
        at_work = compiler_bytes(daemon.pid)
        assert at_work > 0
        wait_until(lambda: compiler_bytes(daemon.pid) < at_work / 2, "memory is given back")
        assert len(daemon.status().sessions) == 1
        writer.add_histogram("values", values, bins=1000, global_step=1)
        assert writer.flush(60)
