"""The client over TCP: to a loopback port, with a token, with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.transport.senders import senders
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.tools import self_signed_certificate

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def no_records_outlive_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives up what was never written, which writers keep trying to send."""
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0")
    yield
    senders.drain()


def log_and_read_back(daemon: DaemonProcess) -> None:
    # Relative to the daemon's root: the other host's current directory means nothing there.
    with SummaryWriter("a/run", address=daemon.tcp_address) as sw:
        for step in range(100):
            sw.add_scalar("loss", step / 4, step)
        sw.add_histogram("h", np.arange(1_000_000, dtype=np.float32), 1, bins=2)
        assert sw.flush(timeout=60, level="synced")
    run = read_run(daemon.logdir / "a" / "run")
    assert [point.value for point in run.scalars["loss"]] == [step / 4 for step in range(100)]
    assert [bucket[2] for bucket in run.histograms["h"][0].buckets] == [500_000, 500_000]


def test_over_loopback(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--listen", "127.0.0.1:0") as daemon:
        log_and_read_back(daemon)


def test_with_token_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed_certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    flags = ("--listen", "localhost:0", "--token-file", str(token))
    with DaemonProcess(
        tmp_path, *flags, "--tls-cert", str(certificate), "--tls-key", str(key)
    ) as daemon:
        monkeypatch.setenv("BOARDD_TLS_CA", str(certificate))
        with SummaryWriter("run", address=daemon.tcp_address) as refused:
            refused.add_scalar("loss", 1.0, 1)
            assert "UNAUTHENTICATED: token missing or wrong" in refused.flush(timeout=60).reason
            assert not refused.close(timeout=0)
        with SummaryWriter("run", address=daemon.tcp_address) as sw:
            sw.add_scalar("loss", 1.0, 1)  # the same session, still without a token
            assert not sw.flush(timeout=60)
    monkeypatch.setenv("BOARDD_TOKEN", TOKEN)
    with DaemonProcess(
        tmp_path, *flags, "--tls-cert", str(certificate), "--tls-key", str(key)
    ) as daemon:
        log_and_read_back(daemon)


def test_a_missing_authority_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_TLS_CA", str(tmp_path / "none.pem"))
    sw = SummaryWriter("run", address="localhost:1")
    sw.add_scalar("loss", 1.0, 1)
    reason = sw.flush(timeout=60).reason
    assert f"BOARDD_TLS_CA='{tmp_path / 'none.pem'}': No such file" in reason
    sw.close(timeout=0)
