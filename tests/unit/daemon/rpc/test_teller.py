"""News of a session waits for what is still to be written, but not for long, nor if it is much."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.runs.run_state import Runs
from boardd.core.session.session import Session
from boardd.rpc import teller
from boardd.rpc.teller import MANY_BYTES, MANY_RECORDS, Teller
from boardd.sessions.live_session import LiveSession
from boardd.sessions.maps import MapBudget
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions, scalar, scalars, summary

DEADLINE_SECS = 60.0
NEVER_SECS = 3600.0
_TURNS = 20


class Told:
    """A session whose client is told; stands in for the stream of gRPC."""

    def __init__(self) -> None:
        budgets = Budgets()
        request = pb.OpenRequest(session_id=b"a" * 16)
        self.session = Session(request, 0, budgets, Runs(budgets), Intake(budgets.intake_bytes))
        self.session.define(definitions("run"), {"run": "/root/run"})
        self._messages: asyncio.Queue[pb.DaemonMessage] = asyncio.Queue()
        self._live = LiveSession(self.session, 1, MapBudget(1 << 30), 1 << 20)
        self._teller = Teller(self._live, cast(Any, self))

    async def write(self, message: pb.DaemonMessage) -> None:
        await self._messages.put(message)

    async def acknowledged(self) -> int:
        message = await asyncio.wait_for(self._messages.get(), DEADLINE_SECS)
        return message.acknowledged.written_sequence

    async def during(self, act: Callable[[Told], Awaitable[None]]) -> None:
        telling = asyncio.ensure_future(self._teller.tell())
        try:
            assert await self.acknowledged() == 0  # where the stream begins
            await act(self)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    def take(self, frames: bytes, maps: dict[int, memoryview] | None = None) -> list[Any]:
        return self.session.receive_sparse(pb.Records(frames=frames), maps).parts

    def finish(self, parts: list[Any]) -> None:
        for part in parts:
            self.session.recharge(part, 100)  # its events, as if it had been reduced
            self.session.finish(part, 100)
        self._live.notice.notify()

    async def has_told_nothing(self) -> bool:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        return self._messages.empty()


def tell(act: Callable[[Told], Awaitable[None]]) -> None:
    async def main() -> None:
        await Told().during(act)

    asyncio.run(main())


def histogram(sequence: int, size_bytes: int) -> bytes:
    """Of values that lie in a map."""
    tensor = pb.Tensor(dtype="uint8", shape=[size_bytes])
    slot = pb.Slot(map=0, offset=0, size_bytes=size_bytes)
    payload = pb.Payload(tensors=[tensor], slots=[slot], histogram=pb.Histogram(count=3))
    return summary(sequence, payload)


def test_news_waits_for_what_is_still_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller, "GATHER_SECS", NEVER_SECS)

    async def act(told: Told) -> None:
        first, second = told.take(scalar(1)), told.take(scalar(2))
        told.finish(first)
        assert await told.has_told_nothing()
        told.finish(second)
        assert await told.acknowledged() == 2

    tell(act)


def test_news_waits_no_longer_than_a_moment() -> None:
    async def act(told: Told) -> None:
        first = told.take(scalar(1))
        told.take(scalar(2))  # stays out
        told.finish(first)
        assert await told.acknowledged() == 1

    tell(act)


@pytest.mark.parametrize(("records", "is_told"), [(MANY_RECORDS, True), (MANY_RECORDS - 1, False)])
def test_news_of_many_records_does_not_wait(
    records: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "GATHER_SECS", NEVER_SECS)

    async def act(told: Told) -> None:
        first = told.take(scalars(1, records))
        told.take(scalar(records + 1))
        told.finish(first)
        assert await told.has_told_nothing() is not is_told

    tell(act)


@pytest.mark.parametrize("is_shared", [True, False])
def test_news_of_large_records_does_not_wait(
    is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "GATHER_SECS", NEVER_SECS)
    maps = {0: memoryview(bytes(8))} if is_shared else None

    async def act(told: Told) -> None:
        def large(sequence: int) -> list[Any]:
            if is_shared:
                return told.take(histogram(sequence, MANY_BYTES // 2), maps)
            text = pb.Text(markdown="x" * (MANY_BYTES // 2))
            return told.take(summary(sequence, pb.Payload(text=text)))

        first, second, third = large(1), large(2), large(3)
        told.take(scalar(4))  # stays out
        told.finish(first)
        assert await told.has_told_nothing()
        told.finish(second)
        assert await told.acknowledged() == 2
        # What was told counts no more.
        told.finish(third)
        assert await told.has_told_nothing()

    tell(act)


def test_a_payload_that_is_none_keeps_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller, "GATHER_SECS", NEVER_SECS)

    async def act(told: Told) -> None:
        frame = bytearray(summary(1, pb.Payload(text=pb.Text(markdown="x" * 64))))
        frame[48:56] = b"\xff" * 8
        parts = told.take(bytes(frame), {0: memoryview(bytes(8))})
        told.finish(parts)
        assert await told.acknowledged() == 1

    tell(act)
