"""Who may connect over TCP: loopback, tokens, TLS, ports."""

from __future__ import annotations

import contextlib
import queue
import socket
from pathlib import Path

import grpc
import pytest
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.tools import self_signed_certificate

TOKEN = "correct-horse-battery-staple"


def status_over(address: str, *metadata: tuple[str, str]) -> pb.StatusReply:
    with grpc.insecure_channel(address) as channel:
        reply: pb.StatusReply = BoarddStub(channel).Status(
            pb.StatusRequest(), timeout=60, metadata=metadata
        )
    return reply


def test_loopback_is_served_without_a_token(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--listen", "127.0.0.1:0") as process:
        assert status_over(process.tcp_address).pid == process.pid
        result = boardd("status", "--address", process.tcp_address)
        assert (result.returncode, f"pid {process.pid}" in result.stdout) == (0, True)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_a_token_is_asked_of_tcp_and_of_tcp_only(token_file: Path, tmp_path: Path) -> None:
    flags = ("--listen", "127.0.0.1:0", "--token-file", str(token_file))
    with DaemonProcess(tmp_path, *flags) as process:
        where = process.tcp_address  # over the Unix socket, without a token
        assert status_over(where, ("authorization", f"Bearer {TOKEN}")).pid == process.pid
        for metadata in (
            [],
            [("authorization", "Bearer wrong")],
            [("authorization", f"Bearer {TOKEN}x")],
            [("authorization", TOKEN)],
            [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")],
            [("token", f"Bearer {TOKEN}")],
        ):
            with pytest.raises(grpc.RpcError) as caught:
                status_over(where, *metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, metadata
        with grpc.insecure_channel(where) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                # Refused before the first message, or this would wait for one for ever.
                next(BoarddStub(channel).Stream(iter(queue.SimpleQueue().get, None), timeout=60))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert HealthStub(channel).Check(HealthCheckRequest(), timeout=60).status == 1

        assert_refused(boardd("status", "--address", where), 1, "token missing.*UNAUTHENTICATED")
        assert "-> give its token with" in boardd("doctor", "--address", where).stdout
        result = boardd("status", "--address", where, BOARDD_TOKEN_FILE=str(token_file))
        assert result.returncode == 0
        result = boardd("status", "--address", where, "--token-file", str(token_file))
        assert result.returncode == 0
        assert boardd("status", BOARDD_ADDRESS=where, BOARDD_TOKEN=TOKEN).returncode == 0
        assert TOKEN not in process.log


def test_a_token_opens_an_address_of_all_hosts(token_file: Path, tmp_path: Path) -> None:
    flags = ("--listen", "0.0.0.0:0", "--token-file", str(token_file))
    with DaemonProcess(tmp_path, *flags) as process:
        port = process.tcp_address.rpartition(":")[2]
        where = f"127.0.0.1:{port}"
        assert status_over(where, ("authorization", f"Bearer {TOKEN}")).pid == process.pid
        assert "crosses the network in clear" in process.log


def test_status_sends_no_token_in_clear_past_this_host(token_file: Path) -> None:
    result = boardd("status", "--address", "192.0.2.1:7654", "--token-file", str(token_file))
    assert_refused(result, 2, "token would cross the network to 192.0.2.1:7654 in clear.*--tls-ca")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed_certificate(tmp_path)


def test_tls(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = map(str, certificate)
    flags = ("--listen", "localhost:0", "--tls-cert", chain, "--tls-key", key)
    with DaemonProcess(tmp_path, *flags) as process:
        where = process.tcp_address
        result = boardd("status", "--address", where, "--tls-ca", chain)
        assert (result.returncode, f"pid {process.pid}" in result.stdout) == (0, True)
        assert boardd("status", "--address", where, BOARDD_TLS_CA=chain).returncode == 0
        assert_refused(boardd("status", "--address", where, "--timeout", "3"), 3, where)
        assert process.health() == HealthCheckResponse.SERVING
    result = boardd(
        *("--socket", str(process.socket), "--listen", "localhost:0"),
        *("--tls-cert", key, "--tls-key", key),
    )
    assert_refused(result, 2, "no PEM certificate in it")


def test_a_port_that_is_taken_is_refused(daemon: DaemonProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        path = daemon.socket.with_name("second")
        flags = ("--socket", str(path), "--logdir-root", str(tmp_path), "--listen")
        assert_refused(boardd(*flags, where), 4, f"--listen {where}: another process has this port")
        assert_refused(boardd(*flags, "127.0.0.1:1.5"), 2, "'127.0.0.1:1.5'")
    assert not path.exists()
    assert not Path(f"{path}.lock").exists()


def test_two_daemons_never_share_a_port(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--listen", "127.0.0.1:0") as first:
        path = first.socket.with_name("second")
        result = boardd("--socket", str(path), "--listen", first.tcp_address)
        assert_refused(result, 4, "another process has this port")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
