"""What every relay between hosts promises: durable, at least once, ordered, replayable."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import pytest
from boardd.relay.grpc_relay import GrpcRelay
from boardd.relay.relay import (
    CHUNK_BYTES,
    MAX_BATCH_BYTES,
    Batch,
    NotTakenError,
    Relay,
    RelayError,
    UnreachableError,
    position_after,
)
from boardd.rpc.auth import TokenInterceptor, server_credentials
from boardd.rpc.handlers import add_relay
from boardd.rpc.relay_service import RelayService
from boardd_protos.address import TcpAddress
from support.tools import self_signed_certificate

TOKEN = "correct-horse-battery-staple"
PRODUCER, OTHER = b"p" * 16, b"o" * 16
WAIT_SECS = 60.0


class Store:
    """What an aggregator has written: it outlives the process that takes batches."""

    def __init__(self) -> None:
        self.entries: dict[bytes, list[int]] = {}
        self.runs: set[str] = set()
        #: Awaited before a batch is written, and before its position goes out.
        self.before: Callable[[], Awaitable[None]] = _at_once
        self.after: Callable[[], Awaitable[None]] = _at_once
        self.data: list[bytes] = []

    async def take(self, batch: Batch) -> int:
        """Writes the entries that it lacks. They are bytes: each its number, modulo 256."""
        await self.before()
        written = self.entries.setdefault(batch.producer, [])
        start = position_after(batch, len(written))
        if start is not None:
            assert len(batch.data) == batch.end - batch.first
            for number in range(start, batch.end):
                assert batch.data[number - batch.first] == number % 256
                written.append(number)
            self.runs.add(batch.run)
            self.data.append(batch.data)
        await self.after()
        return len(written)


async def _at_once() -> None:
    pass


def batch_of(first: int, end: int, producer: bytes = PRODUCER, oldest: int = 0) -> Batch:
    data = bytes(number % 256 for number in range(first, end))
    return Batch(producer, "run", first, end, oldest, data)


class Scene(Protocol):
    """An aggregator over ``store``, and a way to it."""

    store: Store
    relay: Relay

    async def start(self) -> None:
        """The aggregator begins, as it does after it died."""

    async def die(self) -> None:
        """The aggregator dies, and whatever it was doing."""


class GrpcScene:
    """The relay between daemons."""

    def __init__(self, tls: tuple[Path, Path] | None) -> None:
        self.store = Store()
        self._tls = tls
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self.relay: Relay

    async def start(self) -> None:
        interceptors = (TokenInterceptor(TOKEN),) if self._tls else ()
        server = grpc.aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
        add_relay(RelayService(self.store.take), server)
        target = f"localhost:{self._port}"
        self._port = (
            server.add_secure_port(target, server_credentials(*self._tls))
            if self._tls
            else server.add_insecure_port(target)
        )
        await server.start()
        self._server = server

    async def die(self) -> None:
        assert self._server is not None
        await self._server.stop(None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GrpcScene]:
        await self.start()
        address = TcpAddress("localhost", self._port)
        self.relay = (
            GrpcRelay(address, ca=self._tls[0], token=TOKEN) if self._tls else GrpcRelay(address)
        )
        try:
            yield self
        finally:
            await self.relay.close()
            await self.die()


Play = Callable[[Callable[[Scene], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["grpc", "grpc_tls"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Runs what a test does with a scene of each implementation."""
    tls = self_signed_certificate(tmp_path) if request.param == "grpc_tls" else None

    def run(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def all_of_it() -> None:
            async with GrpcScene(tls).running() as scene:
                await asyncio.wait_for(story(scene), WAIT_SECS)

        asyncio.run(all_of_it())

    return run


def test_a_position_covers_what_is_written(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert await scene.relay.send(batch_of(0, 3)) == 3
        assert await scene.relay.send(batch_of(3, 10)) == 10
        assert scene.store.entries == {PRODUCER: list(range(10))}
        assert scene.store.runs == {"run"}

    play(story)


def test_nothing_is_acknowledged_before_it_is_written(play: Play) -> None:
    async def story(scene: Scene) -> None:
        came, may_write = asyncio.Event(), asyncio.Event()

        async def before() -> None:
            came.set()
            await may_write.wait()

        scene.store.before = before
        sending = asyncio.create_task(scene.relay.send(batch_of(0, 3)))
        await came.wait()
        await asyncio.sleep(0)
        assert not sending.done()
        may_write.set()
        assert await sending == 3

    play(story)


def test_a_batch_of_several_messages_comes_whole(play: Play) -> None:
    async def story(scene: Scene) -> None:
        batch = batch_of(0, 2 * CHUNK_BYTES + 17)
        assert await scene.relay.send(batch) == batch.end
        assert scene.store.data == [batch.data]

    play(story)


def test_a_batch_that_is_too_large_is_not_taken(play: Play) -> None:
    async def story(scene: Scene) -> None:
        batch = Batch(PRODUCER, "run", 0, 1, 0, bytes(MAX_BATCH_BYTES + 1))
        with pytest.raises(NotTakenError, match=str(MAX_BATCH_BYTES)):
            await scene.relay.send(batch)
        assert await scene.relay.send(batch_of(0, 3)) == 3

    play(story)


def test_a_gap_is_not_taken_and_the_producer_is_told(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.relay.send(batch_of(0, 3))
        assert await scene.relay.send(batch_of(5, 9)) == 3
        assert await scene.relay.send(batch_of(3, 9)) == 9
        assert scene.store.entries == {PRODUCER: list(range(9))}

    play(story)


def test_what_a_producer_has_no_more_is_not_asked_for(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.relay.send(batch_of(0, 3))
        scene.store.entries[PRODUCER] = list(range(2))  # the aggregator's disk lost one
        position = await scene.relay.send(batch_of(3, 6, oldest=3))
        assert position > 2
        assert scene.store.entries[PRODUCER] == [0, 1, 3, 4, 5]

    play(story)


def test_producers_do_not_touch_each_other(play: Play) -> None:
    async def story(scene: Scene) -> None:
        sent = [batch_of(0, 50, PRODUCER), batch_of(0, 20, OTHER)]
        assert await asyncio.gather(*map(scene.relay.send, sent)) == [50, 20]
        assert await scene.relay.send(batch_of(20, 30, OTHER)) == 30
        assert {key: len(found) for key, found in scene.store.entries.items()} == {
            PRODUCER: 50,
            OTHER: 30,
        }

    play(story)


def test_what_is_sent_again_is_there_once(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for first, end in ((0, 5), (0, 5), (0, 8), (2, 6), (6, 12)):
            position = await scene.relay.send(batch_of(first, end))
        assert position == 12
        assert scene.store.entries == {PRODUCER: list(range(12))}

    play(story)


def test_an_aggregator_that_is_not_there_is_told_and_found_again(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.relay.send(batch_of(0, 3))
        await scene.die()
        with pytest.raises(UnreachableError):
            await scene.relay.send(batch_of(3, 6))
        await scene.start()
        assert await delivered(scene.relay, batch_of(3, 6)) == 6
        assert scene.store.entries == {PRODUCER: list(range(6))}

    play(story)


def test_an_aggregator_that_dies_before_it_answers_has_written_once(play: Play) -> None:
    async def story(scene: Scene) -> None:
        written = asyncio.Event()

        async def after() -> None:
            written.set()
            await asyncio.Event().wait()

        scene.store.after = after
        sending = asyncio.create_task(scene.relay.send(batch_of(0, 3)))
        await written.wait()
        await scene.die()
        with pytest.raises(UnreachableError):
            await sending
        scene.store.after = _at_once
        await scene.start()
        assert await delivered(scene.relay, batch_of(0, 4)) == 4
        assert scene.store.entries == {PRODUCER: list(range(4))}

    play(story)


def test_a_refusal_says_why_and_ends_with_its_cause(play: Play) -> None:
    async def story(scene: Scene) -> None:
        async def refuse() -> None:
            raise NotTakenError("the run lies outside")

        scene.store.before = refuse
        with pytest.raises(NotTakenError, match="the run lies outside"):
            await scene.relay.send(batch_of(0, 3))
        scene.store.before = _at_once
        assert await scene.relay.send(batch_of(0, 3)) == 3

    play(story)


@pytest.mark.parametrize("seed", range(5))
def test_histories_of_deaths_lost_answers_and_replays(play: Play, seed: int) -> None:
    chance = random.Random(seed)

    async def story(scene: Scene) -> None:
        async def hiccup() -> None:
            if chance.random() < 0.15:
                raise UnreachableError("a hiccup")

        scene.store.before = scene.store.after = hiccup
        producers = [PRODUCER, OTHER]
        total = 300
        told = dict.fromkeys(producers, 0)
        while min(told.values()) < total:
            producer = chance.choice(producers)
            first = max(0, told[producer] - chance.randrange(3) * 5)
            end = min(total, first + chance.randrange(1, 40))
            if chance.random() < 0.05:
                await scene.die()
                await scene.start()
            try:
                position = await scene.relay.send(batch_of(first, end, producer))
            except RelayError:
                continue
            assert told[producer] <= position == len(scene.store.entries[producer])
            told[producer] = position
        for producer in producers:
            assert scene.store.entries[producer] == list(range(total))

    play(story)


async def delivered(relay: Relay, batch: Batch) -> int:
    """Sends until it is answered, as a producer does."""
    while True:
        try:
            return await relay.send(batch)
        except UnreachableError:
            await asyncio.sleep(0.05)
