"""``flush()`` without a timeout, in a loop beside a daemon that is stopped."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from boardd_client.tensorboardX import SummaryWriter as DropIn
from boardd_client.transport.flushes import FLUSH_SECS
from support.daemon_process import DaemonProcess

FLUSHES = 200
#: Far less than so many waits would take.
LOOP_SECS = 30.0


def test_a_loop_waits_once_and_not_again_before_the_daemon_answers(
    daemon: DaemonProcess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOARDD_ADDRESS", daemon.address)
    sw = SummaryWriter(tmp_path / "logs" / "run")
    drop_in = DropIn(str(tmp_path / "logs" / "other"))
    sw.add_scalar("loss", 0.0, 0)
    drop_in.add_scalar("loss", 0.0, 0)
    assert sw.flush(timeout=60)
    with daemon.stop_cont():
        sw.add_scalar("loss", 0.0, 0)
        assert not sw.flush(timeout=0)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        begin = time.monotonic()
        for step in range(1, FLUSHES):
            drop_in.add_scalar("loss", 0.0, step)
            drop_in.flush()
            sw.add_scalar("loss", 0.0, step)
            result = sw.flush()
            assert not result
            assert "has not written them in time" in result.reason
            assert result.pending >= step
        assert FLUSH_SECS <= time.monotonic() - begin < LOOP_SECS
        before = time.monotonic()
        assert not sw.flush(timeout=0.5)
        assert time.monotonic() - before >= 0.5
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([warning for warning in warnings if "in time" in warning.getMessage()]) == 1
    assert sw.flush(timeout=60)
    with daemon.stop_cont():
        sw.add_scalar("loss", 0.0, FLUSHES)
        before = time.monotonic()
        assert not sw.flush()
        assert time.monotonic() - before >= FLUSH_SECS, "the daemon had answered"
        before = time.monotonic()
        for _ in range(FLUSHES):
            assert not sw.flush(level="synced")
        assert time.monotonic() - before < LOOP_SECS
    assert sw.close()
    drop_in.close()
