"""The open sessions: their streams, their leases, and the way to the pipeline and back.

A session outlives its stream by a lease, so that a client which reconnects goes
on where it was. One whose lease ends is written out, its runs are ended, and
the number of its last record is remembered for a while: a client that comes
back later still does not have anything written twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.batch import Counters, Part
from boardd.core.budget import Budgets, Intake
from boardd.core.errors import (
    CapacityError,
    DrainingError,
    RequestError,
    SupersededError,
    UnknownSessionError,
)
from boardd.core.runs import Refusal, Run, Runs
from boardd.core.session import Session
from boardd.live_session import AttachedStream, LiveSession
from boardd.logdir import Roots, RunRefusedError
from boardd.notice import Notice
from boardd.pipeline import Pipeline

_logger = logging.getLogger(__name__)

SESSION_ID_BYTES: Final = 16
#: Expired sessions whose last record is remembered.
MAX_EXPIRED: Final = 16_384


class Sessions:
    """The sessions of one daemon; see the module. For the event loop's thread only."""

    def __init__(
        self, roots: Roots, budgets: Budgets, clock: Callable[[], float], retry_secs: float
    ) -> None:
        self.budgets = budgets
        self.intake = Intake(budgets.intake_bytes)
        self.runs = Runs(budgets)
        self.pipeline = Pipeline(budgets, roots, self, retry_secs)
        #: Notified when anything was written, rejected, attached, detached or forgotten.
        self.changed = Notice()
        #: Set once: no session and no stream begins any more.
        self.draining = False
        self.idle_since = clock()
        self._roots = roots
        self._clock = clock
        self._sessions: dict[bytes, LiveSession] = {}
        self._expired: OrderedDict[bytes, int] = OrderedDict()
        self._expiring: set[asyncio.Task[None]] = set()
        #: Counts of sessions that are gone.
        self._past = Counters()

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

    def trouble(self, live: LiveSession) -> str:
        """Why the runs of a session are held up, for people; empty when they are not."""
        return "; ".join(
            f"{run.path}: {run.trouble}" for run in live.session.catalogue.runs() if run.trouble
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
            sequence = max(request.acknowledged_sequence, self._expired.pop(session_id, 0))
            session = Session(request, sequence, self.budgets, self.runs, self.intake)
            live = self._sessions[session_id] = LiveSession(session)
        if live.stream is None:
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
        if live.is_forgotten:
            raise UnknownSessionError(live.session.session_id)
        if self.draining:
            raise DrainingError("the daemon is shutting down; connect again later")
        live.end_lease()
        live.stream = stream

    def detach(self, live: LiveSession) -> None:
        """Takes the stream off a session; its lease begins."""
        live.stream = None
        if not live.is_forgotten:
            live.session.detach()
            self._begin_lease(live)
        live.notice.notify()
        self.changed.notify()

    def _begin_lease(self, live: LiveSession) -> None:
        live.end_lease()
        loop = asyncio.get_running_loop()
        live.lease = loop.call_later(self.budgets.lease_secs, self._expire, live)

    def _expire(self, live: LiveSession) -> None:
        live.lease = None
        task = asyncio.get_running_loop().create_task(self._end_expired(live))
        self._expiring.add(task)
        task.add_done_callback(self._expiring.discard)

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
        self.end_runs(live)

        def is_back() -> bool:
            return live.is_forgotten or live.stream is not None or live.lease is not None

        await live.notice.wait(lambda: is_back() or live.is_quiet)
        if not is_back():
            self._expired[session.session_id] = session.written_sequence
            if len(self._expired) > MAX_EXPIRED:
                self._expired.popitem(last=False)
            self.forget(live)

    def forget(self, live: LiveSession) -> None:
        """Ends a session. Nothing of it may be out in the pipeline."""
        if live.is_forgotten:
            return
        live.is_forgotten = True
        live.end_lease()
        live.session.forget()
        self._past.add(live.session.counters)
        del self._sessions[live.session.session_id]
        if not self._sessions:
            self.idle_since = self._clock()
        live.notice.notify()
        self.changed.notify()

    def end_runs(self, live: LiveSession) -> None:
        """Ends every run that a session still logs to, after what it sent before."""
        self.pipeline.admit(live.session.end().parts)

    async def close(self) -> None:
        """Gives up what is not written by now; see ``Pipeline.close``."""
        for live in self:
            live.end_lease()
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
        if kind == "records":
            batch = live.session.receive(message.records.frames)
            self.pipeline.admit(batch.parts)
            if batch.told:
                live.notice.notify()
        elif kind == "chunk":
            live.session.add_chunk(message.chunk)
        elif kind == "definitions":
            await self._define(live, message.definitions)
        elif kind == "report":
            live.session.report(message.report)
        elif kind == "attach":
            raise RequestError("the stream is attached already")
        else:
            raise RequestError("a message of a kind that this daemon does not know")

    async def _define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        loop = asyncio.get_running_loop()
        wanted = {run.logdir for run in definitions.runs}
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

    def finish(self, part: Part, written_bytes: int) -> None:
        """See ``Outcomes``."""
        live = self._sessions[part.session_id]
        live.session.finish(part, written_bytes)
        self._came_back(live)

    def reject(self, part: Part, reason: int, message: str) -> None:
        """See ``Outcomes``."""
        live = self._sessions[part.session_id]
        live.session.reject(part, reason, message)
        self._came_back(live)

    def recharge(self, part: Part, size_bytes: int) -> None:
        """See ``Outcomes``."""
        self._sessions[part.session_id].session.recharge(part, size_bytes)
        self.changed.notify()

    def refuse(self, run: Run) -> None:
        """See ``Outcomes``."""
        for session_id, number in run.members:
            live = self._sessions.get(session_id)
            if live is not None and run.refusal is not None:
                live.refusals[number] = run.refusal
                live.notice.notify()

    def _came_back(self, live: LiveSession) -> None:
        live.notice.notify()
        self.changed.notify()
