"""What is taken of a stream's messages, and when a budget lets a session be read on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.errors import RequestError
from boardd.runs.directories.logdir import Roots
from boardd.sessions.live_session import LiveSession
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions, scalars
from support.service_reading import run_async

pytestmark = pytest.mark.usefixtures("no_defects")


@contextlib.asynccontextmanager
async def opened(
    path: Path, budgets: Budgets | None = None
) -> AsyncIterator[tuple[Sessions, LiveSession]]:
    sessions = Sessions(Roots([path]), budgets or Budgets(), time.monotonic, 1.0)
    live = sessions.open(pb.OpenRequest(session_id=bytes(16)))
    try:
        yield sessions, live
    finally:
        await live.notice.wait(lambda: live.session.is_quiet)
        assert live.session.counters.balanced
        await sessions.close()


def message(**kind: object) -> pb.ClientMessage:
    return pb.ClientMessage(**kind)  # type: ignore[arg-type]


def test_records_go_to_their_run_and_are_written(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            for sent in (
                message(definitions=definitions("run")),
                message(records=pb.Records(frames=scalars(1, 3))),
            ):
                await sessions.receiver.take(live, sent, reads_ring=False)
            await live.notice.wait(lambda: live.session.written_sequence == 3)
            assert live.session.counters.written == 3
            assert [file.parent.name for file in path.rglob("events*")] == ["run"]

    run_async(test, tmp_path)


def test_a_logdir_outside_the_roots_is_to_be_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            await sessions.receiver.define(live, definitions("/elsewhere"))
            refused, _ = live.session.telling.take()
            assert refused.run_refused.reason == pb.OUTSIDE_ROOTS
            # Records of it are rejected, and a client is told at once: nothing of them is out.
            told = asyncio.create_task(live.notice.wait(lambda: live.session.telling.has_news))
            await asyncio.wait({told}, timeout=0.01)
            records = message(records=pb.Records(frames=scalars(1, 3)))
            await sessions.receiver.take(live, records, reads_ring=False)
            await told
            assert live.session.counters.rejected == {pb.RUN_REFUSED: 3}

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("sent", "reads_ring", "complaint"),
    [
        (message(), False, "a kind that this daemon does not know"),
        (message(attach=pb.Attach()), False, "attached already"),
        (message(committed=pb.LogPosition()), False, "Attach has set no log_from"),
        (message(committed=pb.LogPosition()), True, "Attach has set no log_from"),
        (message(records=pb.Records(frames=scalars(1, 1))), True, "records on a stream whose"),
        (message(chunk=pb.TensorChunk(sequence=1, data=b"x")), True, "chunk on a stream whose"),
    ],
)
def test_a_message_out_of_its_place_is_an_error_and_takes_nothing(
    sent: pb.ClientMessage, reads_ring: bool, complaint: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            with pytest.raises(RequestError, match=complaint):
                await sessions.receiver.take(live, sent, reads_ring=reads_ring)
            assert live.session.received_sequence == 0
            assert not live.session.in_tensor

    run_async(test, tmp_path)


def test_a_session_is_read_on_when_the_intake_has_room_again(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path, Budgets(intake_bytes=10_000)) as (sessions, live):
            registry, session = sessions.registry, live.session
            session.define(definitions("run"), {"run": str(path)})
            (part,) = session.receive(scalars(1, 1)).parts
            registry.intake.charge(10_000)
            reading = asyncio.create_task(sessions.receiver.room(live.session))
            await asyncio.wait({reading}, timeout=0.01)
            assert not reading.done()
            registry.intake.release(10_000)
            registry.changed.notify()
            await reading
            registry.intake.charge(10_000)
            session.finish(part, 1)
            await sessions.receiver.room(session)  # it holds nothing any more
            registry.intake.release(10_000)

    run_async(test, tmp_path)
