"""The gRPC service: from calls to the sessions and back.

Everything here runs on the event loop and only moves messages; worker threads do the
work.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from socket import socket

import grpc.aio
from boardd_protos import REVISION, __version__, boardd_pb2_grpc
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import HANDOVER_SECS

from boardd.core.budget import Budgets
from boardd.core.errors import RequestError
from boardd.core.groups.limits import HEARTBEAT_SECS, GroupLimits
from boardd.core.held import Held
from boardd.core.intake.messages import parse
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.relay.relay import Batch, Relay, UnreachableError
from boardd.rpc.answering import agreed_version, answering, checked_timeout
from boardd.rpc.map_handover import MapHandover
from boardd.rpc.peers import peer_host
from boardd.rpc.session_ids import bound_id
from boardd.rpc.status_reply import status_reply, whole
from boardd.rpc.stream import Stream
from boardd.rpc.unattached import ATTACH_SECS, Unattached
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.spool import Spool
from boardd.runs.event_files.run_files import RETRY_SECS
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.forwarder import MAX_FORWARD_BYTES, Forwarding
from boardd.runs.groups.open_groups import OpenGroups
from boardd.runs.run_table import RunTable
from boardd.sessions.adoption import Adoption
from boardd.sessions.live_session import LiveSession
from boardd.sessions.sessions import Sessions

_TellHeld = Callable[[], Iterator[Held]]


class Service(boardd_pb2_grpc.BoarddServicer):
    """Serves ``boardd.v1.Boardd``; writes beneath ``logdir_roots`` within ``budgets``.

    ``clock`` gives seconds that never go back. ``retry_secs`` lie between tries
    of what a full or failing disk has refused. ``sync`` says when runs are made durable, ``umask``
    what their files and directories lack if the client does not say. A stream may take
    ``attach_secs`` to bring its Attach. ``limits`` say how long groups of ranks wait for each of
    them. No run may be in ``left_alone``. ``start`` before serving; ``drain`` at the end, once.
    """

    def __init__(
        self,
        logdir_roots: Sequence[str | os.PathLike[str]],
        budgets: Budgets | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        retry_secs: float = RETRY_SECS,
        sync: SyncPolicy = NEVER,
        umask: int | None = None,
        attach_secs: float = ATTACH_SECS,
        limits: GroupLimits | None = None,
        left_alone: Sequence[Path] = (),
        spool: Spool | None = None,
    ) -> None:
        self.budgets = budgets or Budgets()
        #: Where the daemon listens, for its status.
        self.addresses: Sequence[str] = ()
        self._sync_policy = sync
        self._roots = Roots(logdir_roots, umask, left_alone, spool=spool)
        self._clock = clock
        self._started_at = time.time()
        self._started = clock()
        self._sessions = Sessions(self._roots, self.budgets, clock, retry_secs, sync, limits)
        self._map_handover: MapHandover | None = None
        self._unattached = Unattached(attach_secs)
        #: Each tells what is held of some of the budgets, for its status.
        self.budgets_held: list[_TellHeld] = [self._sessions.held, self._unattached.held]
        self._adoption: asyncio.Task[None] | None = None

    @property
    def idle_secs(self) -> float:
        """For how long there has been no session and no group; 0 while there is one."""
        registry = self._sessions.registry
        if self._sessions.run_table.groups:
            registry.idle_since = self._clock()
        return 0.0 if registry else self._clock() - registry.idle_since

    @property
    def has_sessions(self) -> bool:
        """Whether any session is open."""
        return bool(self._sessions.registry)

    @property
    def activity(self) -> tuple[int, ...]:
        """Equal at two moments between which no session began or ended, and nothing moved."""
        return self._sessions.registry.activity()

    async def start(self) -> None:
        """Notes the time from which uptime and idleness count."""
        self._started_at = time.time()
        self._started = self._sessions.registry.idle_since = self._clock()

    def take_maps(self, at: Path | socket, *, waiting_secs: float = HANDOVER_SECS) -> None:
        """Lets clients hand over their memory on a socket; see ``MapHandover.listen``.

        Raises ``OSError``.
        """
        self._map_handover = MapHandover(self._sessions, waiting_secs=waiting_secs)
        self._map_handover.listen(at)
        self.budgets_held.append(self._map_handover.held)

    def adopt_logs(self, directories: Sequence[Path]) -> None:
        """Looks in ``directories`` for what dead clients have left, from now on."""
        self._adoption = asyncio.ensure_future(Adoption(self._sessions, directories).run())

    async def resume_groups(self, path: Path) -> None:
        """Goes on with the groups that the file at ``path`` names; notes there which are open."""
        await self._sessions.run_table.resume_groups(OpenGroups(path))

    async def note_reductions(self, path: Path) -> None:
        """Notes in the file at ``path`` what is being reduced; to be called before clients come."""
        await self._sessions.run_table.note_reductions(path)

    def watch_environment(self, on_fault: Callable[[], None]) -> None:
        """Calls ``on_fault`` if something cannot be loaded; see ``Environment``."""
        self._sessions.run_table.environment.on_fault = on_fault

    def leave_at_once(self) -> None:
        """Notes for the next daemon that no reduction is what ends this one."""
        self._sessions.run_table.end_notes()

    def forward(
        self,
        relay: Relay,
        where: str,
        max_bytes: int = MAX_FORWARD_BYTES,
        heartbeat_secs: float = HEARTBEAT_SECS,
    ) -> None:
        """Passes groups of ranks on over ``relay``, to ``where``; see ``Forwarding``.

        To be called before any client comes.
        """
        self._sessions.registry.runs.are_forwarded = True
        forwarding = Forwarding(relay, where, max_bytes, heartbeat_secs, self._roots.timings)
        self._sessions.run_table.forward(forwarding)

    async def take_relayed(self, batch: Batch) -> int:
        """Takes what another daemon passes on; see ``relay.Take``."""
        if self._sessions.registry.is_draining:
            raise UnreachableError("the daemon is leaving")
        return await self._sessions.relay_intake.take(batch)

    async def drain(self, deadline_secs: float) -> bool:
        """Takes no more, writes and acknowledges what it has, and closes the files.

        Returns whether all of it was written within ``deadline_secs``; what was
        not is still with the clients.
        """
        deadline = self._clock() + deadline_secs
        sessions, changed = self._sessions, self._sessions.registry.changed
        await sessions.drain()
        if self._adoption is not None:
            self._adoption.cancel()
        await changed.wait(lambda: sessions.are_quiet, deadline - self._clock())
        for live in sessions.registry:
            await sessions.end_runs(live)
        quiet = await changed.wait(lambda: sessions.are_quiet, deadline - self._clock())
        # What could not be written will not be acknowledged either.
        told_secs = deadline - self._clock() if quiet else 0.0
        await changed.wait(lambda: not sessions.have_streams, told_secs)
        await sessions.run_table.groups.settle(deadline - self._clock())
        if self._map_handover is not None:
            self._map_handover.close()
        await sessions.close()
        return quiet

    # Calls

    async def Open(
        self, request: pb.OpenRequest, context: grpc.aio.ServicerContext
    ) -> pb.OpenReply:
        """Begins or resumes a session."""
        async with answering(context):
            version = agreed_version(request)
            request.session_id = bound_id(request.session_id, context)
            live = self._sessions.open(request, peer_host(context))
            return pb.OpenReply(
                protocol_version=version,
                daemon_version=__version__,
                received_sequence=live.session.received_sequence,
                written_sequence=live.session.known_sequence,
                max_message_bytes=self.budgets.max_message_bytes,
                max_tensor_bytes=self.budgets.max_tensor_bytes,
                lease_secs=self.budgets.lease_secs,
                holds_maps=live.state.is_held,
                sync_on_flush=self._sync_policy.on_flush,
                takes_commits=True,
                revision=REVISION,
            )
        raise AssertionError("an aborted call goes on")

    async def Stream(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:
        """Serves a session's stream, whose messages come as bytes."""
        async with answering(context):
            # What a call is aborted with keeps this frame until the garbage is collected.
            await self._serve(context)

    async def _serve(self, context: grpc.aio.ServicerContext) -> None:
        attach = _attach_in(await self._unattached.first_message(context))
        start = attach.log_from if attach.HasField("log_from") else None
        live = self._sessions.registry.find(bound_id(attach.session_id, context))
        stream = Stream(
            self._sessions.receiver,
            live,
            context,
            reads_ring=start is not None,
            stall_secs=self.budgets.stall_secs,
        )
        await self._sessions.attach(live, stream, start)
        try:
            await stream.serve()
        finally:
            self._sessions.detach(live)

    async def Flush(
        self, request: pb.FlushRequest, context: grpc.aio.ServicerContext
    ) -> pb.FlushReply:
        """Waits until records are written, or synced."""
        async with answering(context):
            live = self._sessions.registry.find(bound_id(request.session_id, context))
            session = live.session
            deadline = self._clock() + checked_timeout(request.timeout_secs)
            reached = await live.notice.wait(
                lambda: session.is_written(request.sequence, request.runs) or live.is_forgotten,
                deadline - self._clock(),
            )
            reached = reached and session.is_written(request.sequence, request.runs)
            message = "" if reached else _why_not(live, request.sequence)
            if reached:
                of_all = request.level == pb.SYNCED
                table, secs = self._sessions.run_table, deadline - self._clock()
                synced = await _synced(table, live, request.runs, secs, of_all=of_all)
                reached, message = synced.ok, synced.reason
            return pb.FlushReply(
                reached=reached, written_sequence=session.written_sequence, message=message
            )
        raise AssertionError("an aborted call goes on")

    async def Close(
        self, request: pb.CloseRequest, context: grpc.aio.ServicerContext
    ) -> pb.CloseReply:
        """Ends a session once all it sent is written."""
        async with answering(context):
            live = self._sessions.registry.find(bound_id(request.session_id, context))
            deadline = self._clock() + checked_timeout(request.timeout_secs)
            closed = True
            # A record that still comes takes up a run again: that is ended, too.
            while closed and not live.is_forgotten and _is_busy(live):
                if not live.state.is_ending:
                    await self._sessions.end_runs(live)
                closed = await live.notice.wait(
                    lambda: live.is_caught_up or live.is_forgotten,
                    deadline - self._clock(),
                )
            written_sequence = live.session.written_sequence
            if not closed:
                message = _why_not(live, live.committed_sequence)
                return pb.CloseReply(written_sequence=written_sequence, message=message)
            self._sessions.close_session(live)
            return pb.CloseReply(closed=True, written_sequence=written_sequence)
        raise AssertionError("an aborted call goes on")

    async def Status(
        self, request: pb.StatusRequest, context: grpc.aio.ServicerContext
    ) -> pb.StatusReply:
        """Returns what the daemon holds and has done."""
        return await whole(self.status())

    def status(self) -> Iterator[pb.StatusReply]:
        """What the daemon holds and has done; the last that is yielded is whole."""
        return status_reply(
            self._sessions.registry,
            started_at=self._started_at,
            uptime_secs=self._clock() - self._started,
            roots=self._roots,
            addresses=self.addresses,
            held=itertools.chain.from_iterable(held() for held in self.budgets_held),
            timings=self._sessions.run_table.timings,
        )


def _attach_in(message: object) -> pb.Attach:
    first = parse(pb.ClientMessage, message) if isinstance(message, bytes) else None
    if first is None or not first.HasField("attach"):
        raise RequestError("the first message of a stream must be Attach")
    return first.attach


async def _synced(
    table: RunTable, live: LiveSession, numbers: Sequence[int], secs: float, *, of_all: bool
) -> SyncResult:
    """Syncs runs of a session by number, none: all; or those that every flush is to sync."""
    schema = live.session.schema
    runs = schema.runs_among(numbers) if numbers else schema.runs()
    if not of_all:
        runs = [run for run in runs if table.policy(run).on_flush]
    if not runs:
        return SyncResult(ok=True)
    try:
        return await asyncio.wait_for(table.sync(runs, live.session.session_id), max(0.0, secs))
    except (TimeoutError, asyncio.TimeoutError):
        reason = "written, but not synced in time; the disk is slow"
        return SyncResult(ok=False, reason=reason)


def _is_busy(live: LiveSession) -> bool:
    return bool(live.session.schema.held_runs()) or not live.is_caught_up


def _why_not(live: LiveSession, sequence: int) -> str:
    session = live.session
    if live.is_forgotten:
        return "the session has ended"
    trouble = "; ".join(
        f"{run.path}: {run.progress.trouble}"
        for run in session.schema.runs()
        if run.progress.trouble
    )
    state = (
        f"written up to record {session.written_sequence} of {sequence}, "
        f"received up to {session.received_sequence}"
    )
    if live.stream is None and live.committed_sequence > session.received_sequence:
        state += "; the rest is in the client's ring, and no stream is attached to read it"
    return f"{state}; {trouble}" if trouble else state
