"""Connections over TCP that show no token: bounded, and nobody else is kept out."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from support.daemon_process import DaemonProcess
from support.descriptors import popen_with_descriptors
from support.waiting import wait_until

TOKEN = "correct-horse-battery-staple"
LIMIT = 1024
#: Of its descriptors, what a daemon leaves to TCP.
MAX_CONNECTIONS = LIMIT // 8
MAX_NEWCOMERS = 64
#: The beginning of HTTP/2, after which a client may stay silent.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaemonProcess]:
    """A daemon with few descriptors that asks for a token."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    monkeypatch.setenv("BOARDD_TOKEN_FILE", str(token))
    flags = ("--listen", "127.0.0.1:0", "--token-file", str(token))
    with DaemonProcess(tmp_path, *flags, popen=popen_with_descriptors(LIMIT)) as process:
        yield process


def host_and_port(daemon: DaemonProcess) -> tuple[str, int]:
    host, _, port = daemon.tcp_address.rpartition(":")
    return host, int(port)


def has_left(states: list[grpc.ChannelConnectivity]) -> bool:
    """Whether a channel with these states, one after the other, was connected and is no more."""
    ready = grpc.ChannelConnectivity.READY
    return ready in states and set(states[states.index(ready) :]) != {ready}


def descriptors(daemon: DaemonProcess) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


class Flood:
    """Connections that never make a call, opened anew as the daemon closes them."""

    def __init__(self, where: tuple[str, int], count: int, says: bytes) -> None:
        self.opened = 0
        self._where = where
        self._count = count
        self._says = says
        self._end = threading.Event()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _run(self) -> None:
        while not self._end.wait(0.02):
            self._connections = [item for item in self._connections if _is_open(item)]
            while len(self._connections) < self._count and not self._end.is_set():
                with contextlib.suppress(OSError):
                    connection = socket.create_connection(self._where, timeout=1.0)
                    connection.setblocking(False)
                    connection.send(self._says)
                    self._connections.append(connection)
                self.opened += 1


def _is_open(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


@pytest.mark.parametrize("says", [b"", PREFACE], ids=["silent", "HTTP/2"])
def test_a_flood_without_a_token_keeps_no_local_client_out(
    says: bytes, daemon: DaemonProcess
) -> None:
    before = descriptors(daemon)
    with Flood(host_and_port(daemon), 2 * LIMIT, says) as flood:
        wait_until(lambda: flood.opened > 4 * LIMIT, "connections that were closed and opened anew")
        for number in range(5):
            with SummaryWriter(daemon.logdir / f"local {number}", address=daemon.address) as sw:
                sw.add_scalar("loss", 1.0, 1)
                assert sw.flush(timeout=20.0)
            assert descriptors(daemon) <= before + MAX_CONNECTIONS + 32
        daemon.wait_log("connections over TCP closed on which no call was let in: [0-9]+")
    wait_until(lambda: descriptors(daemon) <= before + 8, "the connections that are gone")


@pytest.mark.slow  # newcomers get ten seconds
def test_connections_without_a_token_are_few_and_keep_no_other_out(daemon: DaemonProcess) -> None:
    where = host_and_port(daemon)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(where)) for _ in range(100)]
        for connection in idle:
            connection.sendall(PREFACE)
            connection.setblocking(False)
        states: list[grpc.ChannelConnectivity] = []
        channel = stack.enter_context(grpc.insecure_channel(daemon.tcp_address))
        channel.subscribe(states.append)
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        BoarddStub(channel).Status(pb.StatusRequest(), timeout=10, metadata=metadata)
        with SummaryWriter("early", address=daemon.tcp_address) as early:
            early.add_scalar("loss", 1.0, 1)
            assert early.flush(timeout=20.0)
            wait_until(lambda: sum(map(_is_open, idle)) <= MAX_NEWCOMERS, "the limit")
            with SummaryWriter("late", address=daemon.tcp_address) as late:
                late.add_scalar("loss", 1.0, 1)
                assert late.flush(timeout=20.0)
            wait_until(lambda: not any(map(_is_open, idle)), "their time to end")
            # Who was let in has stayed meanwhile.
            assert not has_left(states)
            early.add_scalar("loss", 1.0, 2)
            assert early.flush(timeout=20.0)
            assert len(daemon.status().sessions) == 1


@pytest.mark.slow  # newcomers get ten seconds
def test_calls_that_are_refused_do_not_let_a_connection_stay(daemon: DaemonProcess) -> None:
    refused = 0
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(daemon.tcp_address) as channel:
        channel.subscribe(states.append)
        stub = BoarddStub(channel)

        def is_closed() -> bool:
            nonlocal refused
            with pytest.raises(grpc.RpcError) as caught:
                stub.Status(pb.StatusRequest(), timeout=10)
            refused += caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            return has_left(states)

        wait_until(is_closed, "the end of the connection")
    assert refused > 1
    assert "token missing or wrong" in daemon.log
