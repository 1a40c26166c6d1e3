"""Streams that take each other's place, leases, map connections, and the daemon's end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.errors import DrainingError, RequestError, SupersededError, UnknownSessionError
from boardd.core.refusals import RefusedError
from boardd.core.session.lifecycle import State
from boardd.runs.directories.logdir import Roots
from boardd.sessions.live_session import LiveSession
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import SHARE, Handover
from support.service_reading import run_async
from support.shared_client import log_file, log_of, memory

pytestmark = pytest.mark.usefixtures("no_defects")

REQUEST = pb.OpenRequest(session_id=bytes(16))


class Stream:
    """Notes how it is ended."""

    def __init__(self) -> None:
        self.ends: list[Exception | str] = []

    def end(self, error: Exception) -> None:
        self.ends.append(error)

    def finish(self, *, draining: bool = False) -> None:
        self.ends.append("draining" if draining else "finish")


class Connection:
    """Notes that it is closed."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_relied_on = False

    def receive(self) -> None:
        pass

    def rely_on(self) -> None:
        self.is_relied_on = True

    def close(self) -> None:
        self.is_open = False


def share_first(sessions: Sessions, connection: Connection) -> LiveSession:
    """Brings map 0 and the log of the session that ``opened`` opens."""
    fds = memory(4096), log_file(log_of(REQUEST.session_id))
    try:
        handover = Handover(REQUEST.session_id, SHARE, 0, 4096)
        return sessions.share_first(handover, *fds, connection)
    finally:
        for fd in fds:
            os.close(fd)


@contextlib.asynccontextmanager
async def opened(
    path: Path, budgets: Budgets | None = None
) -> AsyncIterator[tuple[Sessions, LiveSession]]:
    sessions = Sessions(Roots([path]), budgets or Budgets(), time.monotonic, 1.0)
    try:
        yield sessions, sessions.open(REQUEST)
    finally:
        await sessions.close()


def test_a_newer_stream_waits_for_the_end_of_the_older(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            older, newer = Stream(), Stream()
            await sessions.attach(live, older, None)
            attaching = asyncio.create_task(sessions.attach(live, newer, None))
            await asyncio.wait({attaching}, timeout=0.01)
            (error,) = older.ends
            assert isinstance(error, SupersededError)
            assert live.stream is older
            sessions.detach(live)
            await attaching
            assert live.stream is newer
            assert (live.state, newer.ends) == (State.ATTACHED_BY_VALUE, [])
            sessions.detach(live)

    run_async(test, tmp_path)


def test_a_stream_that_cannot_read_the_ring_is_not_attached(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            with pytest.raises(RequestError, match="no ring is shared"):
                await sessions.attach(live, Stream(), pb.LogPosition())
            assert (live.state, live.stream) == (State.LEASED, None)

    run_async(test, tmp_path)


def test_a_stream_that_waited_for_a_session_that_ended_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            await sessions.attach(live, Stream(), None)
            attaching = asyncio.create_task(sessions.attach(live, Stream(), None))
            await asyncio.wait({attaching}, timeout=0.01)
            sessions.close_session(live)
            sessions.detach(live)
            with pytest.raises(UnknownSessionError):
                await attaching
            assert sessions.registry.get(REQUEST.session_id) is None

    run_async(test, tmp_path)


def test_a_session_without_a_stream_ends_with_its_lease(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with opened(path, Budgets(lease_secs=0.01)) as (sessions, live):
            await sessions.registry.changed.wait(lambda: not sessions.registry)
            assert live.is_forgotten
            assert "had no stream for 0.01 s" in caplog.text

    run_async(test, tmp_path)


def test_a_session_has_no_lease_while_a_stream_is_attached(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path, Budgets(lease_secs=0.2)) as (sessions, live):
            await sessions.attach(live, Stream(), None)
            assert live.timer is None
            other = sessions.open(pb.OpenRequest(session_id=b"1" * 16))
            await sessions.registry.changed.wait(lambda: other.is_forgotten)
            assert live.state is State.ATTACHED_BY_VALUE, "the other's lease began later"
            sessions.detach(live)
            await sessions.registry.changed.wait(lambda: live.is_forgotten)

    run_async(test, tmp_path)


def test_a_newer_map_connection_closes_the_older_whose_end_then_means_nothing(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            older, newer = Connection(), Connection()
            share_first(sessions, older)
            assert share_first(sessions, newer) is live
            assert (older.is_open, newer.is_open, live.map_connection) == (False, True, newer)
            sessions.map_connection_ended(live, older, None)
            assert (live.state, live.map_connection) == (State.HELD, newer)

    run_async(test, tmp_path)


def test_the_end_of_a_map_connection_ends_the_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            connection = Connection()
            share_first(sessions, connection)
            sessions.map_connection_ended(live, connection, None)
            assert live.state is State.SALVAGING
            await sessions.registry.changed.wait(lambda: live.is_forgotten)
            assert "ended without closing its session" in caplog.text

    run_async(test, tmp_path)


def test_nothing_is_attached_while_the_daemon_drains(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with opened(path) as (sessions, live):
            stream = Stream()
            await sessions.attach(live, stream, None)
            assert sessions.have_streams
            await sessions.drain()
            assert stream.ends == ["draining"]
            sessions.detach(live)
            assert not sessions.have_streams
            with pytest.raises(DrainingError):
                await sessions.attach(live, Stream(), None)
            with pytest.raises(DrainingError):
                sessions.open(REQUEST)

    run_async(test, tmp_path)


def test_a_stream_is_ended_when_the_daemon_waits_no_longer(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        stream, connection = Stream(), Connection()
        async with opened(path) as (sessions, live):
            share_first(sessions, connection)
            await sessions.attach(live, stream, None)
        (error,) = stream.ends
        assert isinstance(error, DrainingError)
        assert (live.state, connection.is_open) == (State.ABANDONED, False)

    run_async(test, tmp_path)


def test_a_handover_that_is_refused_leaves_what_is_known_of_an_ended_session(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        request = pb.OpenRequest(session_id=REQUEST.session_id, acknowledged_sequence=50)
        async with opened(path) as (sessions, first):
            sessions.registry.forget(first)
            live = sessions.open(request)
            sessions.registry.remember(live.session)
            sessions.registry.forget(live)
            fds = memory(4096), log_file(log_of(REQUEST.session_id))
            try:
                wrong = Handover(REQUEST.session_id, SHARE, 0, 8192)
                with pytest.raises(RefusedError):
                    sessions.share_first(wrong, *fds, Connection())
            finally:
                for fd in fds:
                    os.close(fd)
            assert sessions.registry.get(REQUEST.session_id) is None
            assert sessions.open(REQUEST).session.written_sequence == 50

    run_async(test, tmp_path)
