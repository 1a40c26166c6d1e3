"""Which sessions are open, what they share, and what is known of those that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import SESSION_ID_BYTES

from boardd.core.budget import Budgets, Intake
from boardd.core.errors import CapacityError, DrainingError, RequestError, UnknownSessionError
from boardd.core.held import Held
from boardd.core.runs.run_state import Runs
from boardd.core.session.batch import Counters
from boardd.core.session.drops import EndedSessions
from boardd.core.session.session import Session
from boardd.sessions.live_session import LiveSession
from boardd.sessions.maps import MapBudget
from boardd.sessions.notice import Notice
from boardd.sessions.refused_runs import RefusedRuns

#: Ended sessions whose last record is remembered.
MAX_ENDED_SESSIONS: Final = 16_384
#: What their clients dropped, by run and reason, and were not told, remembered of all of them.
MAX_ENDED_DROPS: Final = 16_384


class Registry:
    """The open sessions by id; for the event loop's thread only."""

    def __init__(self, budgets: Budgets, clock: Callable[[], float]) -> None:
        self.budgets = budgets
        self.intake = Intake(budgets.intake_bytes)
        self.runs = Runs(budgets)
        self.runs.is_absent = self._is_absent
        self.refused_runs = RefusedRuns()
        #: Notified when anything was written or rejected, or something happened to a session.
        self.changed = Notice()
        #: Set once: no session and no stream begins any more.
        self.is_draining = False
        self.idle_since = clock()
        self._clock = clock
        self._map_budget = MapBudget(budgets.max_map_bytes)
        self._sessions: dict[bytes, LiveSession] = {}
        self._ended = EndedSessions(MAX_ENDED_SESSIONS, MAX_ENDED_DROPS)
        #: How many sessions have begun.
        self._opened = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(list(self._sessions.values()))

    def open(self, request: pb.OpenRequest, host: str = "") -> LiveSession:
        """The session of that id; a new one if none is open.

        ``host`` is the peer's address, empty if it is this host. All sessions of another
        host share one part of the budgets of sessions and runs; here those of a process do.

        Raises ``RequestError``, ``DrainingError``, and ``CapacityError`` past the budget of
        sessions.
        """
        session_id = request.session_id
        if len(session_id) != SESSION_ID_BYTES:
            raise RequestError(
                f"session_id has {len(session_id)} bytes; {SESSION_ID_BYTES} random ones are needed"
            )
        for name in ("acknowledged_sequence", "heard_rejections"):
            number = getattr(request, name)
            if number >= 1 << 63:
                raise RequestError(f"{name} {number} is too large")
        self.check_draining()
        live = self._sessions.get(session_id)
        if live is not None:
            live.session.open(request)
            return live
        sharer = host or (request.hostname, request.pid)
        if not self.runs.sessions.take(session_id, sharer):
            raise CapacityError(
                f"the daemon has its budget of {self.budgets.max_sessions} sessions, or all of it "
                "that one client may have; try later or raise --max-sessions",
                pb.TOO_MANY_SESSIONS,
            )
        ended = self._ended.take(session_id)
        sequence = max(request.acknowledged_sequence, ended.written_sequence)
        session = Session(request, sequence, self.budgets, self.runs, self.intake, ended)
        self._opened += 1
        live = LiveSession(session, self._opened, self._map_budget, self.budgets.max_message_bytes)
        self._sessions[session_id] = live
        return live

    def check_draining(self) -> None:
        """Raises ``DrainingError`` if nothing begins any more."""
        if self.is_draining:
            raise DrainingError("the daemon is shutting down; connect again later")

    def get(self, session_id: bytes) -> LiveSession | None:
        """The open session of that id, if there is one."""
        return self._sessions.get(session_id)

    def find(self, session_id: bytes) -> LiveSession:
        """The open session of that id. Raises ``UnknownSessionError`` if there is none."""
        live = self._sessions.get(session_id)
        if live is None:
            raise UnknownSessionError(session_id)
        return live

    def _is_absent(self, session_id: bytes) -> bool:
        live = self._sessions.get(session_id)
        return live is None or live.state.is_absent

    def remember(self, session: Session) -> None:
        """Notes what is to be known of ``session``, should its client come back."""
        self._ended.remember(session.session_id, session.remembered())

    def forget(self, live: LiveSession) -> None:
        """Takes a session off the list. Nothing of it may be out any more."""
        live.session.forget()
        self._ended.count(live.session.counters)
        del self._sessions[live.session.session_id]
        if not self._sessions:
            self.idle_since = self._clock()

    def counters(self) -> Counters:
        """The counts of all sessions since the daemon started."""
        return self._ended.counters_with(live.session.counters for live in self)

    def held(self) -> Iterator[Held]:
        """What sessions hold of the budgets that they share, and the largest of its own."""
        budgets, definitions = self.budgets, self.runs.definitions
        yield Held("intake-bytes", self.intake.held_bytes, budgets.intake_bytes)
        pending = max((live.session.pending_bytes for live in self), default=0)
        yield Held("session-intake-bytes", pending, budgets.session_intake_bytes)
        yield Held("max-map-bytes", self._map_budget.held_bytes, budgets.max_map_bytes)
        yield Held("max-definition-bytes", definitions.held_bytes, budgets.max_definition_bytes)
        yield Held("max-sessions", len(self), budgets.max_sessions)
        yield Held("max-runs", len(self.runs), budgets.max_runs)
        of_run = max((len(run.tags) for run in self.runs.values()), default=0)
        yield Held("max-series-per-run", of_run, budgets.max_series_per_run)
        of_session = max((live.session.schema.series_count for live in self), default=0)
        yield Held("max-series-per-session", of_session, budgets.max_series_per_session)

    def activity(self) -> tuple[int, ...]:
        """Equal at two moments between which no session began or ended, and nothing moved."""
        total = self.counters()
        return self._opened, len(self), total.accepted, total.pending, self.intake.held_bytes
