"""What a client drops shows in the logdir and in the status, over both transports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.commands.control import fetch_status
from boardd_client import SummaryWriter
from boardd_protos.address import parse
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_scalars
from support.transports import check_transport


def test_drops_are_told_in_the_run_they_were_meant_for(
    transport: str, daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_ARENA_BYTES", str(1 << 16))
    monkeypatch.setenv("BOARDD_LARGE_TENSOR_BYTES", "0")
    large = np.zeros(1 << 16)
    other = SummaryWriter(Path(daemon.logdir) / "other", address=daemon.address)
    with SummaryWriter(Path(daemon.logdir) / "run", address=daemon.address) as sw:
        for step in range(5):
            sw.add_scalar("loss", 0.5, step)
            sw.add_histogram("weights", large, step)
        assert sw.flush(timeout=60)
        check_transport(transport, sw, daemon)
        other.add_scalar("loss", 0.5, 7)
        assert dict(sw.statistics().dropped) == {"tensor_too_large": 5}
        other.flush(timeout=60)
        status = fetch_status(parse(daemon.address))
        assert {Path(run.path).name: run.dropped for run in status.runs} == {"run": 5, "other": 0}
        (session,) = status.sessions
        (count,) = session.counters.dropped_by_client
        assert (count.reason, count.records) == ("tensor_too_large", 5)
    other.close()
    scalars = read_scalars(daemon.logdir, "python")
    for tag in ("boardd/dropped", "boardd/dropped/tensor_too_large"):
        last = scalars["run"][tag][-1]
        assert (last.step, last.value) == (4, 5)
    assert set(scalars["other"]) == {"loss"}
