"""The ring is read as far as it is committed, and of a dead client as far as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.intake.shared_ring import SharedRing
from boardd.runs.directories.logdir import Roots
from boardd.sessions.client_log import ClientLog
from boardd.sessions.ring_reader import RingReader, Salvage
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import CLAIMED, Frame, FrameKind, encode
from boardd_protos.log_file import DEFINITIONS_USED_OFFSET, LOG_HEADER_BYTES, encode_entry
from support.raw_client import definitions, scalar, scalars
from support.service_reading import run_async
from support.shared_client import log_file, log_of

pytestmark = pytest.mark.usefixtures("no_defects")

RING_BYTES = 1 << 16
SESSION_ID = bytes(16)
DEFINITIONS = definitions("run")


@contextlib.asynccontextmanager
async def reading(
    path: Path, *frames: bytes, budgets: Budgets | None = None
) -> AsyncIterator[tuple[Sessions, RingReader, SharedRing]]:
    """A session whose log holds a run and ``frames``, of which nothing is committed."""
    sessions = Sessions(Roots([path]), budgets or Budgets(), time.monotonic, 1.0)
    live = sessions.open(pb.OpenRequest(session_id=SESSION_ID))
    log = bytearray(log_of(SESSION_ID, RING_BYTES))
    written = b"".join(frames)
    log[LOG_HEADER_BYTES : LOG_HEADER_BYTES + len(written)] = written
    entry = encode_entry(DEFINITIONS.SerializeToString())
    start = LOG_HEADER_BYTES + RING_BYTES
    log[start : start + len(entry)] = entry
    struct.pack_into("<Q", log, DEFINITIONS_USED_OFFSET, len(entry))
    fd = log_file(bytes(log))
    live.maps.adopt(ClientLog(fd))
    os.close(fd)
    live.ring.attach(live.maps.log, 0, 0)
    assert live.ring.reading is not None
    try:
        yield sessions, RingReader(sessions.receiver, live), live.ring.reading
    finally:
        await live.notice.wait(lambda: live.session.is_quiet)
        assert live.session.counters.balanced
        await sessions.close()


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_read_that_fails_once_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, pread = itertools.count(), os.pread

    def failing(fd: int, size_bytes: int, offset: int) -> bytes:
        if next(calls) % 2 == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size_bytes, offset)

    async def test(path: Path) -> None:
        frames = scalars(1, 10), scalars(11, 10)
        async with reading(path, *frames) as (sessions, reader, ring):
            live = sessions.registry.find(SESSION_ID)
            monkeypatch.setattr(os, "pread", failing)
            ring.commit(10, len(frames[0]))
            live.committed.notify()
            follower = asyncio.create_task(reader.follow(ring))
            await live.notice.wait(lambda: not ring.has_more)
            await cancelled(follower)
            assert live.session.received_sequence == 10
            assert await reader.finish() == Salvage(10, 0)
            monkeypatch.undo()

    run_async(test, tmp_path)


def test_only_what_is_committed_is_read(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        frames = scalars(1, 10), scalars(11, 10)
        async with reading(path, *frames) as (sessions, reader, ring):
            live = sessions.registry.find(SESSION_ID)
            following = asyncio.create_task(reader.follow(ring))
            for count, sequence in ((1, 10), (2, 20)):
                ring.commit(sequence, len(b"".join(frames[:count])))
                live.committed.notify()
                await live.notice.wait(lambda: not ring.has_more)
                assert live.session.received_sequence == sequence
            await cancelled(following)

    run_async(test, tmp_path)


def test_a_turn_that_is_cancelled_has_taken_nothing(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        frames = scalars(1, 10)
        async with reading(path, frames) as (sessions, reader, ring):
            live = sessions.registry.find(SESSION_ID)
            ring.commit(10, len(frames))
            finishing = asyncio.create_task(reader.finish())
            # The run's directory is looked up in another thread meanwhile.
            await asyncio.sleep(0)
            await cancelled(finishing)
            assert (ring.position, live.session.received_sequence) == (0, 0)
            assert await RingReader(sessions.receiver, live).finish() == Salvage(0, 0)
            assert live.session.received_sequence == 10

    run_async(test, tmp_path)


def test_what_a_dead_client_left_is_told_apart_from_what_it_had_committed(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        committed = scalars(1, 5)
        claimed = encode(Frame(FrameKind.SUMMARY, CLAIMED, 8, 8, 1e9, 1, 0.0, bytes(24)))
        frames = committed, scalar(6), scalar(7), claimed, scalar(9), scalar(11)
        async with reading(path, *frames) as (sessions, reader, ring):
            live = sessions.registry.find(SESSION_ID)
            ring.commit(5, len(committed))
            assert await reader.finish() == Salvage(4, 1), "10 is missing, and ends it"
            assert live.session.received_sequence == 9
            assert live.session.counters.rejected == {pb.CAPTURE_FAILED: 1}
            assert await reader.finish() == Salvage(0, 0)

    run_async(test, tmp_path)


def test_a_ring_of_which_nothing_is_held_is_read_though_the_budget_is_spent(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        frames = scalars(1, 10)
        async with reading(path, frames, budgets=Budgets(intake_bytes=100)) as (
            sessions,
            reader,
            ring,
        ):
            ring.commit(10, len(frames))
            sessions.registry.intake.charge(100)
            await reader.finish()
            assert ring.sequence == 10

    run_async(test, tmp_path)
