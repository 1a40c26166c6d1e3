"""A stream that is ended while a message arrives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boardd.core.budget import Budgets
from boardd.core.errors import RequestError, SupersededError
from boardd.rpc.stream import Stream
from boardd.runs.directories.logdir import Roots
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from support.raw_client import scalar
from support.service_reading import run_async

pytestmark = pytest.mark.usefixtures("no_defects")

REQUEST = pb.OpenRequest(session_id=bytes(16))


class Call:
    """gRPC's side of a stream: what the client sends, and what it is told."""

    def __init__(self, steps: Iterator[Callable[[], Any]]) -> None:
        self._steps = steps
        self.told: list[pb.DaemonMessage] = []

    async def read(self) -> bytes:
        for step in self._steps:
            message = step()
            sent: pb.ClientMessage = await message if inspect.isawaitable(message) else message
            return sent.SerializeToString()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    async def write(self, message: pb.DaemonMessage) -> None:
        self.told.append(message)


def first_chunk() -> pb.ClientMessage:
    """Until the rest of its tensor comes, the stream reads with a time limit."""
    return pb.ClientMessage(chunk=pb.TensorChunk(sequence=1, offset=0, data=b"some"))


def record() -> pb.ClientMessage:
    return pb.ClientMessage(records=pb.Records(frames=scalar(1)))


@pytest.mark.parametrize("end", ["opened again", "drained"])
def test_a_message_that_arrives_with_the_end_is_not_taken(end: str, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        sessions = Sessions(Roots([path]), Budgets(), time.monotonic, 1.0)
        live = sessions.open(REQUEST)

        async def ends_with_a_record() -> pb.ClientMessage:
            if end == "drained":
                await sessions.drain()
            else:
                assert sessions.open(REQUEST).session.received_sequence == 0
            return record()

        context: Any = Call(iter([first_chunk, ends_with_a_record, record]))
        stream = Stream(sessions.receiver, live, context, reads_ring=False, stall_secs=60.0)
        await sessions.attach(live, stream, None)
        if end == "drained":
            await stream.serve()
            assert any(message.HasField("draining") for message in context.told)
        else:
            with pytest.raises(SupersededError):
                await stream.serve()
        sessions.detach(live)
        assert live.session.received_sequence == 0, "the client sends it again"
        await sessions.close()

    run_async(test, tmp_path)


class Tells(Call):
    """A client that is gone when it is told anything."""

    async def write(self, message: pb.DaemonMessage) -> None:
        raise ConnectionError("gone")


@pytest.mark.parametrize("end", ["a reader's error", "a teller's error", "opened again"])
def test_nothing_of_a_stream_waits_for_the_collector(end: str, tmp_path: Path) -> None:
    def no_message() -> pb.ClientMessage:
        return pb.ClientMessage()

    async def test(path: Path) -> None:
        sessions = Sessions(Roots([path]), Budgets(), time.monotonic, 1.0)
        live = sessions.open(REQUEST)

        def opened_again() -> pb.ClientMessage:
            sessions.open(REQUEST)
            return record()

        steps = {"a reader's error": [no_message], "opened again": [opened_again]}
        context: Any = (Tells if end == "a teller's error" else Call)(iter(steps.get(end, [])))
        stream = Stream(sessions.receiver, live, context, reads_ring=False, stall_secs=60.0)
        await sessions.attach(live, stream, None)
        left = weakref.ref(stream)
        gc.disable()
        try:
            with contextlib.suppress(ConnectionError, RequestError, SupersededError):
                await stream.serve()
            sessions.detach(live)
            del stream
            await asyncio.sleep(0)
            assert left() is None
        finally:
            gc.enable()
        await sessions.close()

    run_async(test, tmp_path)
