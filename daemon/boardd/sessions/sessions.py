"""The open sessions: their streams, their leases, and the way to the pipeline and back.

A session outlives its stream by a lease, so that a client which reconnects goes
on where it was. One whose lease ends is written out, its runs are ended, and
the number of its last record is remembered for a while: a client that comes
back later still does not have anything written twice.

A client that shares its log has a map_connection besides, and no lease: it lives as long as
that holds. When it ends, the client is dead. Then what it left in its log is written,
and its session ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import SESSION_ID_BYTES

from boardd.core.budget import Budgets, Intake
from boardd.core.errors import (
    CapacityError,
    DrainingError,
    RequestError,
    SupersededError,
    UnknownSessionError,
)
from boardd.core.intake.shared_ring import SharedRing
from boardd.core.runs.run_state import Refusal, Runs, RunState
from boardd.core.session.batch import Batch, Counters, RunPart
from boardd.core.session.drops import EndedSessions
from boardd.core.session.session import Session
from boardd.runs.logdir import Roots, RunRefusedError
from boardd.runs.pipeline import Pipeline
from boardd.sessions.live_session import AttachedStream, LiveSession, OpenMapConnection
from boardd.sessions.maps import MapBudget
from boardd.sessions.notice import Notice
from boardd.sessions.peer_process import PeerProcess
from boardd.sessions.ring_reader import RingReader

_logger = logging.getLogger(__name__)

#: Expired sessions whose last record is remembered.
MAX_EXPIRED: Final = 16_384
#: What their clients dropped, by run and reason, that is remembered of all of them.
MAX_EXPIRED_DROPS: Final = 16_384
#: How long a stream may outlive its client's map_connection; its last messages are in it. How
#: long the process may.
FAREWELL_SECS: Final = 1.0


class Sessions:
    """The sessions of one daemon; see the module. For the event loop's thread only."""

    def __init__(
        self, roots: Roots, budgets: Budgets, clock: Callable[[], float], retry_secs: float
    ) -> None:
        self.budgets = budgets
        self.intake = Intake(budgets.intake_bytes)
        self.runs = Runs(budgets)
        self._map_budget = MapBudget(budgets.max_map_bytes)
        self.pipeline = Pipeline(budgets, roots, self, retry_secs)
        #: Notified when anything was written, rejected, attached, detached or forgotten.
        self.changed = Notice()
        #: Set once: no session and no stream begins any more.
        self.draining = False
        self.idle_since = clock()
        self._roots = roots
        self._clock = clock
        self._sessions: dict[bytes, LiveSession] = {}
        self._expired = EndedSessions(MAX_EXPIRED, MAX_EXPIRED_DROPS)
        self._expiring: set[asyncio.Task[None]] = set()
        #: Counts of sessions that are gone.
        self._past = Counters()
        #: How many sessions have begun.
        self._opened = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(list(self._sessions.values()))

    def counters(self) -> Counters:
        """The counts of all sessions since the daemon started."""
        total = Counters()
        total.add(self._past)
        for live in self:
            total.add(live.session.counters)
        return total

    def activity(self) -> tuple[int, ...]:
        """See ``Service.activity``."""
        total = self.counters()
        return self._opened, len(self), total.accepted, total.pending, self.intake.held_bytes

    def trouble(self, live: LiveSession) -> str:
        """Why the runs of a session are held up, for people; empty when they are not."""
        return "; ".join(
            f"{run.path}: {run.trouble}" for run in live.session.schema.runs() if run.trouble
        )

    def open(self, request: pb.OpenRequest) -> LiveSession:
        """Begins or resumes a session.

        Raises ``RequestError``, ``CapacityError`` past the budget of sessions,
        and ``DrainingError``.
        """
        session_id = request.session_id
        if len(session_id) != SESSION_ID_BYTES:
            raise RequestError(
                f"session_id has {len(session_id)} bytes; {SESSION_ID_BYTES} random ones are needed"
            )
        if request.acknowledged_sequence >= 1 << 63:
            raise RequestError(
                f"acknowledged_sequence {request.acknowledged_sequence} is too large"
            )
        if self.draining:
            raise DrainingError("the daemon is shutting down; connect again later")
        live = self._sessions.get(session_id)
        if live is None:
            if len(self._sessions) >= self.budgets.max_sessions:
                raise CapacityError(
                    f"the daemon has its budget of {self.budgets.max_sessions} sessions; try later "
                    "or raise --max-sessions",
                    pb.TOO_MANY_SESSIONS,
                )
            written, drops = self._expired.take(session_id)
            sequence = max(request.acknowledged_sequence, written)
            session = Session(request, sequence, self.budgets, self.runs, self.intake, drops)
            live = LiveSession(session, self._map_budget)
            self._sessions[session_id] = live
            self._opened += 1
        self._begin_lease(live)
        return live

    def find(self, session_id: bytes) -> LiveSession:
        """The open session of that id. Raises ``UnknownSessionError`` when there is none."""
        live = self._sessions.get(session_id)
        if live is None:
            raise UnknownSessionError(session_id)
        return live

    async def attach(self, live: LiveSession, stream: AttachedStream) -> None:
        """Makes ``stream`` the session's; one that was there ends first.

        Raises ``UnknownSessionError`` when the session ends meanwhile, and
        ``DrainingError``.
        """
        while live.stream is not None:
            live.stream.end(SupersededError("a newer stream was attached to this session"))
            await live.notice.wait(lambda: live.stream is None)
        if live.is_ending:  # it begins anew, behind what is being written
            await live.notice.wait(lambda: live.is_forgotten)
        if live.is_forgotten:
            raise UnknownSessionError(live.session.session_id)
        if self.draining:
            raise DrainingError("the daemon is shutting down; connect again later")
        live.end_lease()
        live.stream = stream
        live.is_shared = False

    def attach_log(self, live: LiveSession, start: pb.LogPosition) -> None:
        """Has the records of the attached stream come through the shared log, from ``start`` on.

        Raises ``RequestError``.
        """
        ring, received = live.maps.ring, live.session.received_sequence
        if ring is None:
            raise RequestError(
                "log_from is set, but no log is shared; hand it over first, on the socket beside "
                "this one"
            )
        if start.sequence > received:
            raise RequestError(
                f"log_from begins behind record {start.sequence}; only {received} were received"
            )
        live.log = self._log_at(ring, start.sequence, start.position)
        live.is_shared = True
        if live.map_connection is not None:
            live.map_connection.attached()
        elif live.parting is not None:  # the map_connection's end was there before this
            live.end_parting()
            self._died(live)

    def _log_at(self, ring: memoryview, sequence: int, position: int) -> SharedRing:
        return SharedRing(ring, sequence, position, self.budgets.max_message_bytes)

    def maps_shared(self, live: LiveSession, map_connection: OpenMapConnection) -> None:
        """See ``Owners`` of ``handoff``."""
        before, live.map_connection = live.map_connection, map_connection
        live.end_parting()
        live.end_lease()
        if before is not None and before is not map_connection:
            before.close()
        if live.stream is not None and live.is_shared:
            live.stream.end(SupersededError("the log was handed over anew"))
        ring = live.maps.ring
        if ring is None:
            return
        if live.log is not None:
            live.log = self._log_at(ring, live.log.sequence, live.log.position)
        elif live.session.received_sequence == 0:
            # Positions begin at 0 with the session, so it can be read already.
            live.log = self._log_at(ring, 0, 0)

    def map_connection_ended(
        self, live: LiveSession, map_connection: OpenMapConnection, process: PeerProcess | None
    ) -> None:
        """See ``Owners`` of ``handoff``."""
        is_its_own = not live.is_forgotten and live.map_connection is map_connection
        if is_its_own:
            live.map_connection = None
        if process is None:
            if is_its_own:
                self._died(live)
        elif is_its_own:
            live.parting = self._begin(self._part(live, process))
            live.parting.add_done_callback(lambda _: process.close())
        else:
            process.close()

    async def _part(self, live: LiveSession, process: PeerProcess) -> None:
        """Ends the session if its client has died; else lets go of what that shares no more."""
        has_died = await process.has_ended(FAREWELL_SECS)
        live.parting = None
        if has_died:
            self._died(live)
            return
        live.let_go()
        self._begin_lease(live)
        live.notice.notify()
        self.changed.notify()

    def _died(self, live: LiveSession) -> None:
        live.is_ending = True
        live.notice.notify()
        self._begin(self._end_dead(live))

    async def _end_dead(self, live: LiveSession) -> None:
        """Writes what the log of a client holds that is gone, and ends its session."""
        session = live.session
        await live.notice.wait(lambda: live.stream is None, FAREWELL_SECS)
        while live.stream is not None:
            live.stream.end(SupersededError("the client has let go of its shared log"))
            await live.notice.wait(lambda: live.stream is None)
        live.end_lease()
        if live.log is None:
            found = "its log could not be read, because it was never attached"
        else:
            salvage = await RingReader(self, live).finish()
            found = (
                f"{salvage.records} records beyond what it had committed were found in its log, "
                f"{salvage.lost} of them without their values"
            )
        _logger.warning(
            "%s (pid %d on %s) ended without closing its session: %s",
            session.program or "a program",
            session.pid,
            session.hostname or "an unknown host",
            found,
        )
        self._end_runs_of_gone(live)
        await live.notice.wait(lambda: live.is_forgotten or live.is_quiet)
        if not live.is_forgotten:
            self._remember(session)
            self.forget(live)

    def detach(self, live: LiveSession) -> None:
        """Takes the stream off a session; its lease begins."""
        live.stream = None
        if not live.is_forgotten:
            live.session.detach()
            self._begin_lease(live)
        live.notice.notify()
        self.changed.notify()

    def _begin_lease(self, live: LiveSession) -> None:
        """Begins the lease anew, unless the client is there, or its end is known or expected."""
        live.end_lease()
        if live.is_ending or live.parting is not None:
            return
        if live.stream is not None or live.map_connection is not None:
            return
        loop = asyncio.get_running_loop()
        live.lease = loop.call_later(self.budgets.lease_secs, self._expire, live)

    def _expire(self, live: LiveSession) -> None:
        live.lease = None
        self._begin(self._end_expired(live))

    def _begin(self, ending: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(ending)
        self._expiring.add(task)
        task.add_done_callback(self._expiring.discard)
        return task

    async def _end_expired(self, live: LiveSession) -> None:
        """Ends a session whose client is gone, unless it comes back while that lasts."""
        session = live.session
        _logger.warning(
            "session of %s (pid %d on %s) had no stream for %g s and is ended",
            session.program or "a program",
            session.pid,
            session.hostname or "an unknown host",
            self.budgets.lease_secs,
        )
        self._end_runs_of_gone(live)

        def is_back() -> bool:
            return (
                live.is_forgotten
                or live.is_ending
                or live.stream is not None
                or live.lease is not None
                or live.map_connection is not None
                or live.parting is not None
            )

        await live.notice.wait(lambda: is_back() or live.is_quiet)
        if not is_back():
            self._remember(session)
            self.forget(live)

    def _remember(self, session: Session) -> None:
        self._expired.remember(session.session_id, session.written_sequence, session.drops)

    def forget(self, live: LiveSession) -> None:
        """Ends a session. Nothing of it may be out in the pipeline."""
        if live.is_forgotten:
            return
        live.is_forgotten = True
        live.end_lease()
        live.let_go()
        live.session.forget()
        self._past.add(live.session.counters)
        del self._sessions[live.session.session_id]
        if not self._sessions:
            self.idle_since = self._clock()
        live.notice.notify()
        self.changed.notify()

    def _end_runs_of_gone(self, live: LiveSession) -> None:
        """Does ``end_runs``; the session is to end, whatever happens."""
        try:
            self.end_runs(live)
        except Exception:
            _logger.exception("the runs of pid %d cannot be ended", live.session.pid)

    def end_runs(self, live: LiveSession) -> None:
        """Ends every run that a session still logs to, after what it sent before."""
        self.pipeline.admit(live.session.end().parts)

    async def close(self) -> None:
        """Gives up what is not written by now; see ``Pipeline.close``."""
        for live in self:
            live.end_lease()
            if live.is_ending:
                _logger.error(
                    "pid %d is gone, and not all that its log held could be written",
                    live.session.pid,
                )
            live.let_go()
        for task in self._expiring:
            task.cancel()
        await self.pipeline.close()

    # Messages of streams

    async def room(self, session: Session) -> None:
        """Waits until budgets allow reading on for ``session``."""
        await self.changed.wait(
            lambda: (
                session.pending_bytes < self.budgets.session_intake_bytes
                and self.intake.may_read(session.session_id, in_tensor=session.in_tensor)
            )
        )

    async def take(self, live: LiveSession, message: pb.ClientMessage) -> None:
        """Takes a message of a session's stream.

        Raises ``RequestError``, ``FrameError`` or ``CapacityError`` when it
        contradicts the protocol or a budget.
        """
        kind = message.WhichOneof("message")
        if live.is_shared and kind in ("records", "chunk"):
            raise RequestError(f"{kind} on a stream whose records lie in the shared log")
        if kind == "records":
            self._admit(live, live.session.receive(message.records.frames))
        elif kind == "committed":
            if live.log is None or not live.is_shared:
                raise RequestError("committed, but Attach has set no log_from")
            live.log.commit(message.committed.sequence, message.committed.position)
            live.committed.notify()
        elif kind == "chunk":
            live.session.add_chunk(message.chunk)
        elif kind == "definitions":
            await self.define(live, message.definitions)
        elif kind == "report":
            self.pipeline.admit(live.session.report(message.report, time.time()).parts)
        elif kind == "attach":
            raise RequestError("the stream is attached already")
        else:
            raise RequestError("a message of a kind that this daemon does not know")

    def receive(self, live: LiveSession, frames: bytes) -> None:
        """Takes whole frames of a session's shared log. Raises ``FrameError``."""
        self._admit(live, live.session.receive(frames, live.maps.views))

    def _admit(self, live: LiveSession, batch: Batch) -> None:
        self.pipeline.admit(batch.parts)
        if batch.told:
            live.notice.notify()

    async def define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        """Takes definitions. Raises ``RequestError`` or ``CapacityError``."""
        loop = asyncio.get_running_loop()
        wanted = {run.logdir for run in definitions.runs}
        logdirs: dict[str, str | Refusal] = {}
        if wanted:
            logdirs = await loop.run_in_executor(self.pipeline.threads, self._resolve, wanted)
        defined = live.session.define(definitions, logdirs)
        for run in defined.runs:
            self.pipeline.open(run)
        for refused in defined.refusals:
            live.refusals[refused.run] = refused.refusal
        if defined.refusals:
            live.notice.notify()

    def _resolve(self, logdirs: set[str]) -> dict[str, str | Refusal]:
        resolved: dict[str, str | Refusal] = {}
        for logdir in logdirs:
            try:
                resolved[logdir] = os.fspath(self._roots.resolve(logdir))
            except RunRefusedError as error:
                resolved[logdir] = Refusal(error.reason, str(error))
        return resolved

    # What comes back from the pipeline

    def finish(self, part: RunPart, written_bytes: int) -> None:
        """See ``Outcomes``."""
        live = self._sessions[part.session_id]
        live.session.finish(part, written_bytes)
        self._came_back(live)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """See ``Outcomes``."""
        live = self._sessions[part.session_id]
        live.session.reject(part, reason, message)
        self._came_back(live)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """See ``Outcomes``."""
        self._sessions[part.session_id].session.recharge(part, size_bytes)
        self.changed.notify()

    def refuse(self, run: RunState) -> None:
        """See ``Outcomes``."""
        for session_id, number in run.members:
            live = self._sessions.get(session_id)
            if live is not None and run.refusal is not None:
                live.refusals[number] = run.refusal
                live.notice.notify()

    def _came_back(self, live: LiveSession) -> None:
        live.notice.notify()
        self.changed.notify()
