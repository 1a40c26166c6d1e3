"""The gRPC service: from calls to the core and back.

Everything here runs on the event loop and only moves messages; the pipeline's
threads do the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from boardd_protos import (
    MAX_PROTOCOL_VERSION,
    MIN_PROTOCOL_VERSION,
    __version__,
    boardd_pb2_grpc,
)
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError
from boardd_protos.reasons import REASON_METADATA

from boardd.core.budget import Budgets
from boardd.core.errors import (
    DrainingError,
    ProtocolError,
    RequestError,
    VersionError,
    reason_name,
    status_name,
)
from boardd.core.runs.run_state import RunState
from boardd.rpc.map_handover import HANDOVER_SECS, MapHandover
from boardd.rpc.stream import Stream
from boardd.runs.logdir import Roots
from boardd.runs.run_writer import RETRY_SECS
from boardd.sessions.live_session import LiveSession
from boardd.sessions.sessions import Sessions

_logger = logging.getLogger(__name__)

DAEMON_ID_BYTES: Final = 16


class Service(boardd_pb2_grpc.BoarddServicer):
    """Serves ``boardd.v1.Boardd``; writes beneath ``logdir_roots`` within ``budgets``.

    ``clock`` gives seconds that never go back. ``retry_secs`` lie between tries
    of what a full or failing disk has refused. ``start`` before serving; ``drain``
    at the end, once.
    """

    def __init__(
        self,
        logdir_roots: Sequence[str | os.PathLike[str]],
        budgets: Budgets | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        retry_secs: float = RETRY_SECS,
    ) -> None:
        self.budgets = budgets or Budgets()
        #: Where the daemon listens, for its status.
        self.addresses: Sequence[str] = ()
        self._roots = Roots(logdir_roots)
        self._clock = clock
        self._started_at = time.time()
        self._started = clock()
        self._daemon_id = secrets.token_bytes(DAEMON_ID_BYTES)
        self._sessions = Sessions(self._roots, self.budgets, clock, retry_secs)
        self._map_handover: MapHandover | None = None

    @property
    def idle_secs(self) -> float:
        """For how long there has been no session; 0 while there is one."""
        return 0.0 if self._sessions else self._clock() - self._sessions.idle_since

    @property
    def has_sessions(self) -> bool:
        """Whether any session is open."""
        return bool(self._sessions)

    @property
    def activity(self) -> tuple[int, ...]:
        """Equal at two moments between which no session began or ended, and nothing moved."""
        return self._sessions.activity()

    async def start(self) -> None:
        """Notes the time from which uptime and idleness count."""
        self._started_at = time.time()
        self._started = self._sessions.idle_since = self._clock()

    def take_maps(self, path: Path, *, waiting_secs: float = HANDOVER_SECS) -> None:
        """Lets clients hand over their memory on a socket at ``path``; see ``MapHandover``.

        Raises ``OSError``.
        """
        self._map_handover = MapHandover(self._sessions, waiting_secs=waiting_secs)
        self._map_handover.listen(path)

    async def drain(self, deadline_secs: float) -> bool:
        """Takes no more, writes and acknowledges what it has, and closes the files.

        Returns whether all of it was written within ``deadline_secs``; what was
        not is still with the clients.
        """
        deadline = self._clock() + deadline_secs
        sessions = self._sessions
        sessions.draining = True
        for live in sessions:
            if live.map_connection is not None:
                live.map_connection.receive()  # that a client is gone must be known now
            if live.stream is not None:
                live.stream.finish(draining=True)
        await sessions.changed.wait(self._all_quiet, deadline - self._clock())
        for live in sessions:
            sessions.end_runs(live)
        quiet = await sessions.changed.wait(self._all_quiet, deadline - self._clock())
        # What could not be written will not be acknowledged either.
        told_secs = deadline - self._clock() if quiet else 0.0
        await sessions.changed.wait(self._no_streams, told_secs)
        for live in sessions:
            if live.stream is not None:
                live.stream.end(DrainingError("the daemon has shut down"))
        if self._map_handover is not None:
            self._map_handover.close()
        await sessions.close()
        return quiet

    def _all_quiet(self) -> bool:
        return all(
            live.is_quiet and not live.is_ending and live.parting is None for live in self._sessions
        )

    def _no_streams(self) -> bool:
        return all(live.stream is None for live in self._sessions)

    # Calls

    async def Open(
        self, request: pb.OpenRequest, context: grpc.aio.ServicerContext
    ) -> pb.OpenReply:
        """Begins or resumes a session."""
        async with _answering(context):
            version = _agree(request)
            live = self._sessions.open(request)
            session = live.session
            return pb.OpenReply(
                protocol_version=version,
                daemon_version=__version__,
                daemon_id=self._daemon_id,
                received_sequence=session.received_sequence,
                written_sequence=session.written_sequence,
                max_message_bytes=self.budgets.max_message_bytes,
                max_tensor_bytes=self.budgets.max_tensor_bytes,
                lease_secs=self.budgets.lease_secs,
                holds_maps=live.map_connection is not None,
            )
        raise AssertionError("an aborted call goes on")

    async def Stream(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:
        """Serves a session's stream."""
        async with _answering(context):
            first = await context.read()
            if not isinstance(first, pb.ClientMessage) or not first.HasField("attach"):
                raise RequestError("the first message of a stream must be Attach")
            live = self._sessions.find(first.attach.session_id)
            stream = Stream(self._sessions, live, context)
            await self._sessions.attach(live, stream)
            try:
                if first.attach.HasField("log_from"):
                    self._sessions.attach_log(live, first.attach.log_from)
                await stream.serve()
            finally:
                self._sessions.detach(live)

    async def Flush(
        self, request: pb.FlushRequest, context: grpc.aio.ServicerContext
    ) -> pb.FlushReply:
        """Waits until records are written, or synced."""
        async with _answering(context):
            live = self._sessions.find(request.session_id)
            session = live.session
            deadline = self._clock() + _checked_timeout(request.timeout_secs)
            reached = await live.notice.wait(
                lambda: session.written_sequence >= request.sequence or live.is_forgotten,
                _remaining(deadline - self._clock()),
            )
            reached = reached and session.written_sequence >= request.sequence
            message = "" if reached else self._why_not(live, request.sequence)
            if reached and request.level == pb.SYNCED:
                message = await self._sync(live, deadline)
                reached = not message
            return pb.FlushReply(
                reached=reached, written_sequence=session.written_sequence, message=message
            )
        raise AssertionError("an aborted call goes on")

    async def Close(
        self, request: pb.CloseRequest, context: grpc.aio.ServicerContext
    ) -> pb.CloseReply:
        """Ends a session once all it sent is written."""
        async with _answering(context):
            live = self._sessions.find(request.session_id)
            deadline = self._clock() + _checked_timeout(request.timeout_secs)
            closed = True
            # A record that still comes takes up a run again: that is ended, too.
            while closed and not live.is_forgotten and self._is_busy(live):
                if not live.is_ending:
                    self._sessions.end_runs(live)
                closed = await live.notice.wait(
                    lambda: live.is_caught_up or live.is_forgotten,
                    _remaining(deadline - self._clock()),
                )
            written_sequence = live.session.written_sequence
            if not closed:
                message = self._why_not(live, live.committed_sequence)
                return pb.CloseReply(written_sequence=written_sequence, message=message)
            if live.stream is not None:
                live.stream.finish()
            self._sessions.forget(live)
            return pb.CloseReply(closed=True, written_sequence=written_sequence)
        raise AssertionError("an aborted call goes on")

    async def Status(
        self, request: pb.StatusRequest, context: grpc.aio.ServicerContext
    ) -> pb.StatusReply:
        """Returns what the daemon holds and has done."""
        return self.status_reply()

    def status_reply(self) -> pb.StatusReply:
        """What the daemon holds and has done, now."""
        sessions = self._sessions
        return pb.StatusReply(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_secs=self._clock() - self._started,
            logdir_roots=[os.fspath(path) for path in self._roots.paths],
            addresses=self.addresses,
            counters=sessions.counters().message(),
            sessions=[_session_status(live) for live in sessions],
            runs=[_run_status(run) for run in sessions.runs.values()],
            rss_bytes=_rss_bytes(),
            intake_bytes=sessions.intake.held_bytes,
            intake_budget_bytes=sessions.intake.budget_bytes,
        )

    @staticmethod
    def _is_busy(live: LiveSession) -> bool:
        return bool(live.session.schema.held_runs()) or not live.is_caught_up

    async def _sync(self, live: LiveSession, deadline: float) -> str:
        sync = self._sessions.pipeline.sync(live.session.schema.held_runs())
        try:
            return await asyncio.wait_for(sync, _remaining(deadline - self._clock()))
        except (TimeoutError, asyncio.TimeoutError):
            return "written, but not synced in time; the disk is slow"

    def _why_not(self, live: LiveSession, sequence: int) -> str:
        session = live.session
        if live.is_forgotten:
            return "the session has ended"
        trouble = self._sessions.trouble(live)
        state = (
            f"written up to record {session.written_sequence} of {sequence}, "
            f"received up to {session.received_sequence}"
        )
        if live.stream is None and live.committed_sequence > session.received_sequence:
            state += "; the rest is in the client's log, and no stream is attached to read it"
        return f"{state}; {trouble}" if trouble else state


def _agree(request: pb.OpenRequest) -> int:
    """The highest protocol version in common. Raises ``VersionError`` when there is none."""
    lowest, highest = request.min_protocol_version, request.max_protocol_version
    agreed = min(highest, MAX_PROTOCOL_VERSION)
    if agreed >= max(lowest, MIN_PROTOCOL_VERSION):
        return agreed
    older = "client" if highest < MIN_PROTOCOL_VERSION else "daemon"
    raise VersionError(
        f"the client (boardd {request.client_version or 'of unknown version'}) speaks protocol "
        f"{lowest} to {highest}, the daemon (boardd {__version__}) {MIN_PROTOCOL_VERSION} to "
        f"{MAX_PROTOCOL_VERSION}; upgrade the {older}"
    )


def _checked_timeout(timeout_secs: float) -> float:
    if math.isnan(timeout_secs) or timeout_secs < 0:
        raise RequestError(f"timeout_secs {timeout_secs} must be at least 0")
    return timeout_secs


def _remaining(secs: float) -> float | None:
    return None if math.isinf(secs) else max(0.0, secs)


@contextlib.asynccontextmanager
async def _answering(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Answers a call with the status of the error it ends with."""
    try:
        yield
    except (ProtocolError, FrameError) as error:
        _logger.info("call refused: %s", error)
        await context.abort(
            grpc.StatusCode[status_name(error)],
            str(error),
            ((REASON_METADATA, reason_name(error)),),
        )
    except grpc.aio.BaseError:
        raise  # the call is over already
    except Exception as error:
        _logger.exception("call failed")
        await context.abort(grpc.StatusCode.INTERNAL, f"defect of the daemon: {error!r}")


def _session_status(live: LiveSession) -> pb.SessionStatus:
    session = live.session
    return pb.SessionStatus(
        session_id=session.session_id,
        hostname=session.hostname,
        pid=session.pid,
        program=session.program,
        attached=live.stream is not None,
        received_sequence=session.received_sequence,
        written_sequence=session.written_sequence,
        counters=session.counters.message(),
        map_bytes=live.maps.size_bytes,
    )


def _run_status(run: RunState) -> pb.RunStatus:
    return pb.RunStatus(
        path=run.path,
        file=run.file,
        written_bytes=run.written_bytes,
        pending=run.pending,
        trouble=run.trouble or (run.refusal.message if run.refusal is not None else ""),
        series=len(run.tags),
        steps_backwards=run.steps.backwards,
        dropped=min(sum(run.dropped.values()), (1 << 64) - 1),
    )


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
