"""What want of descriptors does to established connections: nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from boardd.rpc import tcp_connections as module
from boardd.rpc.newcomers import PATIENCE_SECS, Newcomers, Peer
from boardd.rpc.tcp_connections import TcpConnections
from support.descriptors import descriptors_left

DEADLINE_SECS = 10.0


class Connected:
    """A connection to a port that ``connections`` watches at the time ``now``."""

    def __init__(self, client: socket.socket, port: int) -> None:
        self.now = 0.0
        self.newcomers = Newcomers()
        self.connections = TcpConnections(port, self.newcomers, lambda: self.now)
        self.peer = Peer(*client.getsockname())
        self._client = client

    @property
    def is_open(self) -> bool:
        try:
            return bool(self._client.recv(1))
        except BlockingIOError:
            return True


@pytest.fixture
def connected() -> Iterator[Connected]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), DEADLINE_SECS) as client,
        server.accept()[0],
    ):
        client.setblocking(False)
        yield Connected(client, server.getsockname()[1])


def test_a_member_stays_one_when_descriptors_cannot_be_listed(connected: Connected) -> None:
    async def test() -> None:
        await asyncio.to_thread(int)  # its thread is there
        connected.newcomers.let_in(connected.peer)
        await connected.connections.look()
        with descriptors_left(0):
            await connected.connections.look()
        for _ in range(2):
            connected.now += 2 * PATIENCE_SECS
            await connected.connections.look()
        assert connected.is_open

    asyncio.run(asyncio.wait_for(test(), DEADLINE_SECS))


def test_a_connection_without_a_descriptor_to_look_at_it_is_looked_at_again(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> int:
        raise OSError

    async def test() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", refuse)
            await connected.connections.look()
        await connected.connections.look()
        assert connected.is_open
        connected.now += 2 * PATIENCE_SECS
        await connected.connections.look()
        assert not connected.is_open

    asyncio.run(asyncio.wait_for(test(), DEADLINE_SECS))


def test_a_defect_does_not_end_the_watch(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        monkeypatch.setattr(module, "LOOK_SECS", 0.0)
        looks = asyncio.Semaphore(0)

        async def fail() -> None:
            looks.release()
            raise IndexError("a defect")

        monkeypatch.setattr(connected.connections, "look", fail)
        watching = asyncio.create_task(connected.connections.watch())
        for _ in range(2):
            await looks.acquire()
        watching.cancel()

    asyncio.run(asyncio.wait_for(test(), DEADLINE_SECS))
    assert "cannot be looked at" in caplog.text
