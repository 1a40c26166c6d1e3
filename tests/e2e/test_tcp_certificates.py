"""Certificates of both ends: what is wrong with one is said, and training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from boardd_client.transport.senders import senders
from support.certificates import Authority, Certificate
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.waiting import wait_until

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def no_records_outlive_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives up what was never written, which writers keep trying to send."""
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0")
    yield
    senders.drain()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    return authority.sign("good")


def tls_flags(server: Certificate, *more: str) -> tuple[str, ...]:
    return ("--listen", "localhost:0", "--tls-cert", server.chain, "--tls-key", server.key, *more)


def use(monkeypatch: pytest.MonkeyPatch, authority: Authority, client: Certificate | None) -> None:
    monkeypatch.setenv("BOARDD_TLS_CA", authority.certificate)
    if client is not None:
        monkeypatch.setenv("BOARDD_TLS_CLIENT_CERT", client.chain)
        monkeypatch.setenv("BOARDD_TLS_CLIENT_KEY", client.key)


def log_and_read_back(daemon: DaemonProcess) -> None:
    with SummaryWriter("run", address=daemon.tcp_address) as sw:
        sw.add_scalar("loss", 0.25, 1)
        assert sw.flush(timeout=60)
    assert [point.value for point in read_run(daemon.logdir / "run").scalars["loss"]] == [0.25]


def refusal(where: str) -> str:
    """Logs to ``where``, which fails and keeps nobody waiting; returns what the user is told."""
    with SummaryWriter("run", address=where) as sw:
        sw.add_scalar("loss", 0.25, 1)
        wait_until(lambda: "UNAVAILABLE" in told(sw), "a reason")
        reason = told(sw)
        sw.add_scalar("loss", 0.5, 2)
        assert sw.statistics().pending == 2
        sw.close(timeout=0)
    return reason


def told(sw: SummaryWriter) -> str:
    return sw.flush(timeout=0.1).reason


def test_both_ends_show_a_certificate(
    authority: Authority, good: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    flags = tls_flags(good, "--tls-client-ca", authority.certificate, "--token-file", str(token))
    client = authority.sign("client", "trainer")
    use(monkeypatch, authority, client)
    monkeypatch.setenv("BOARDD_TOKEN_FILE", str(token))
    with DaemonProcess(tmp_path, *flags) as daemon:
        log_and_read_back(daemon)
        assert boardd("status", "--address", daemon.tcp_address).returncode == 0


@pytest.mark.parametrize("shown", ["none", "another authority's", "expired"])
def test_a_client_without_a_certificate_of_the_authority_is_not_served(
    shown: str,
    authority: Authority,
    good: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = None
    if shown == "expired":
        client = authority.sign("expired client", days=-1)
    elif shown != "none":
        client = Authority(tmp_path, "stranger").sign("client")
    use(monkeypatch, authority, client)
    flags = tls_flags(good, "--tls-client-ca", authority.certificate)
    with DaemonProcess(tmp_path, *flags) as daemon:
        assert "set BOARDD_TLS_CLIENT_CERT" in refusal(daemon.tcp_address)
        result = boardd("status", "--address", daemon.tcp_address)
        assert_refused(result, 3, "set --tls-client-cert")
        assert not daemon.status().sessions


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        ("expired", "certificate has expired"),
        ("elsewhere", "names another host"),
        ("stranger's", "not signed by the authority in BOARDD_TLS_CA"),
        ("none", "serves no TLS; start it with --tls-cert, or unset BOARDD_TLS_CA"),
    ],
)
def test_what_is_wrong_with_the_daemons_certificate_is_said(
    server: str,
    advice: str,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, authority, None)
    flags: tuple[str, ...] = ("--listen", "localhost:0")
    if server == "expired":
        flags = tls_flags(authority.sign("expired", days=-1))
    elif server == "elsewhere":
        flags = tls_flags(authority.sign("elsewhere", "elsewhere"))
    elif server == "stranger's":
        flags = tls_flags(Authority(tmp_path, "stranger").sign("server"))
    with DaemonProcess(tmp_path, *flags) as daemon:
        assert advice in refusal(daemon.tcp_address)
        result = boardd("status", "--address", daemon.tcp_address)
        assert_refused(result, 3, advice.replace("BOARDD_TLS_CA", "--tls-ca"))


def test_tls_that_the_client_does_not_know_of_is_said(good: Certificate, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, *tls_flags(good)) as daemon:
        assert "if it serves TLS (--tls-cert), set BOARDD_TLS_CA" in refusal(daemon.tcp_address)


def test_a_certificate_that_is_renewed_is_used_by_the_next_connection(
    authority: Authority, good: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "trusted.pem"
    monkeypatch.setenv("BOARDD_TLS_CA", str(trusted))
    with (
        DaemonProcess(tmp_path, *tls_flags(good)) as daemon,
        SummaryWriter("run", address=daemon.tcp_address) as sw,
    ):
        sw.add_scalar("loss", 0.25, 1)
        assert f"BOARDD_TLS_CA={str(trusted)!r}: No such file" in sw.flush(timeout=60).reason
        trusted.write_bytes(Path(authority.certificate).read_bytes())
        wait_until(lambda: bool(sw.flush(timeout=1.0)), "the connection with the new file")
