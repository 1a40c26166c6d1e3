"""The daemon's end of a pair: real sessions, lives and runs, without sockets, threads or a loop.

What the daemon's event loop does when something happens, the end does at once, until there
is nothing left that it could do by itself. What is outside is scripted: the disk writes
when it is told to, the clock stands until it is put forward, and the ends of streams and of
map connections are noticed when a history says so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from boardd.core.budget import Budgets, Intake
from boardd.core.errors import UnknownSessionError
from boardd.core.intake.frames import ScalarFrames, WalkedFrames
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.core.intake.walker import walk_message
from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs
from boardd.core.session.drops import EndedSessions
from boardd.core.session.lifecycle import Effect, Event, Lifecycle, State
from boardd.core.session.session import Session
from boardd.core.session.session_ring import SessionRing
from boardd.sessions.effects import FAREWELL_SECS, VERIFY_SECS
from boardd_protos import REVISION
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind

from support.pair_client import BAD_TAG
from support.pair_disk import Disk
from support.pair_ledger import Ledger
from support.ring_memory import LogMemory

BUDGETS: Final = Budgets(
    intake_bytes=80_000, session_intake_bytes=60_000, max_sessions=8, lease_secs=600.0
)
#: Larger than any frame of a pair.
_MAX_FRAME_BYTES: Final = 1 << 16
#: Taken of a dead client's ring in one turn: few frames, so that salvage takes several.
_TURN_BYTES: Final = 300
LOGDIRS: Final[Mapping[str, str | Refusal]] = {
    "a": "/a",
    "b": "/b",
    "outside": Refusal(pb.OUTSIDE_ROOTS, "outside"),
}


@dataclass(eq=False)
class Stream:
    """A stream; each end may know of its end before the other does."""

    to_daemon: deque[pb.ClientMessage] = field(default_factory=deque)
    to_client: deque[pb.DaemonMessage] = field(default_factory=deque)
    is_cut: bool = False  #: by the client
    is_ended: bool = False  #: by the daemon


@dataclass(eq=False)
class MapConnection:
    """The connection over which map 0 and the log were handed; ``memory`` is that map."""

    memory: memoryview
    log: LogMemory
    is_open: bool = True
    is_relied_on: bool = False  #: its end is the client's end


@dataclass(eq=False)
class LiveSession:
    """A session and what is attached to it."""

    session: Session
    life: Lifecycle = field(default_factory=Lifecycle)
    views: Mapping[int, memoryview] = field(default_factory=dict)
    log: LogMemory | None = None
    defined_bytes: int = 0  #: of the log's definitions
    ring: SessionRing = field(default_factory=lambda: SessionRing(_MAX_FRAME_BYTES))
    map_connection: MapConnection | None = None
    stream: Stream | None = None
    is_reading: bool = False  #: messages of the stream
    reads_ring: bool = False  #: for the stream
    #: What comes when the clock is there.
    timer: tuple[float, Event] | None = None
    watched_until: float | None = None


class DaemonEnd:
    """One life of the daemon, the ``life``th on its disk."""

    def __init__(
        self, life: int, ledger: Ledger, files: dict[bytes, LogMemory], *, can_watch: bool
    ) -> None:
        self.life = life
        self.now = 0.0
        self.intake = Intake(BUDGETS.intake_bytes)
        self.runs = Runs(BUDGETS)
        self.sessions: dict[bytes, LiveSession] = {}
        self.disk = Disk(life, ledger, self.runs, lambda key: self.sessions[key].session)
        self.visited: set[State] = {State.NEW}
        self.dead: set[bytes] = set()  #: clients whose process has ended
        #: The logs that have a name, by session.
        self.files = files
        self._can_watch = can_watch
        self._ended = EndedSessions(16, 64)
        self._ledger = ledger

    # What clients do

    def open(self, request: pb.OpenRequest) -> pb.OpenReply:
        """See ``Open``."""
        live = self._begun(request)
        live.session.open(request)
        self.fire(live, Event.OPENED)
        return pb.OpenReply(
            received_sequence=live.session.received_sequence,
            written_sequence=live.session.known_sequence,
            max_message_bytes=1 << 20,
            holds_maps=live.map_connection is not None,
            revision=REVISION,
        )

    def _begun(self, request: pb.OpenRequest) -> LiveSession:
        live = self.sessions.get(request.session_id)
        if live is None:
            ended = self._ended.take(request.session_id)
            sequence = max(request.acknowledged_sequence, ended.written_sequence)
            session = Session(request, sequence, BUDGETS, self.runs, self.intake, ended)
            live = self.sessions[request.session_id] = LiveSession(session)
        return live

    def _begun_with(self, session_id: bytes, log: LogMemory) -> LiveSession:
        done = log.words().acknowledged_sequence
        return self._begun(pb.OpenRequest(session_id=session_id, acknowledged_sequence=done))

    def share(self, session_id: bytes, connection: MapConnection) -> bool:
        """A map connection brings map 0 and the log; returns whether they are taken."""
        live = self._begun_with(session_id, connection.log)
        if live.life.state.is_ending:
            return False
        before, live.map_connection = live.map_connection, connection
        if before is not None:
            before.is_open = False
        live.views = {0: connection.memory.toreadonly()}
        live.log = connection.log
        live.ring.let_go()
        self.fire(live, Event.MAPS_SHARED)
        return True

    def adopt(self) -> None:
        """Finds the logs of clients that are dead."""
        for session_id, log in list(self.files.items()):
            live = self.sessions.get(session_id)
            if log.is_locked or (live is not None and live.life.state is not State.LEASED):
                continue
            if live is None:
                # What a daemon before wrote, and the client has not heard of, comes again.
                done = log.words().acknowledged_sequence
                self._ledger.forgotten(self.life, session_id, done.__ge__)
                live = self._begun_with(session_id, log)
            live.views, live.log = {}, log
            live.ring.let_go()
            self.fire(live, Event.ADOPTED)

    def attach(self, attach: pb.Attach, stream: Stream) -> None:
        """See ``Stream``. Raises ``UnknownSessionError`` for a session that is ending."""
        live = self.sessions.get(attach.session_id)
        if live is not None and live.life.state.has_stream:
            self.fire(live, Event.STREAM_ASKED)
        if live is None or live.life.state.is_ending:
            raise UnknownSessionError(attach.session_id)
        live.session.telling.begin()
        live.stream, live.is_reading = stream, True
        live.reads_ring = attach.HasField("log_from")
        if not attach.HasField("log_from"):
            live.ring.let_go()
            self.fire(live, Event.ATTACHED_BY_VALUE)
            return
        start = attach.log_from
        live.ring.attach(live.log, start.sequence, start.position)
        self.fire(live, Event.ATTACHED_SHARED)

    def close(self, session_id: bytes) -> bool:
        """See ``Close``; returns False if not all is written."""
        live = self.sessions[session_id]
        received = live.session.received_sequence
        is_read = live.ring.committed_sequence(received) <= received
        if live.life.state.is_ending or live.session.open_parts or not is_read:
            return False
        self.fire(live, Event.CLOSED)
        return True

    def end_runs(self, live: LiveSession) -> None:
        """Ends every run that a session still logs to."""
        self.disk.admit(live.session.end())

    # What happens

    def fire(self, live: LiveSession, event: Event) -> None:
        """Takes an event of a session, and does all that follows of it."""
        effects = live.life.fire(event)
        self.visited.add(live.life.state)
        is_detached = False
        for effect in effects:
            is_detached |= self._perform(live, effect)
        if is_detached:
            self.detach(live)

    def fire_all(self, event: Event) -> None:
        """Takes an event of all sessions."""
        for live in list(self.sessions.values()):
            self.fire(live, event)

    def _perform(self, live: LiveSession, effect: Effect) -> bool:
        """Returns whether the stream has ended."""
        stream = live.stream
        if effect is Effect.START_LEASE:
            live.timer = self.now + BUDGETS.lease_secs, Event.LEASE_ENDED
        elif effect is Effect.START_FAREWELL:
            live.timer = self.now + FAREWELL_SECS, Event.FAREWELL_OVER
        elif effect is Effect.STOP_TIMER:
            live.timer = None
        elif effect is Effect.WATCH_PROCESS:
            live.watched_until = self.now + VERIFY_SECS
        elif effect is Effect.STOP_WATCHING:
            live.watched_until = None
        elif effect is Effect.RELY_ON_CONNECTION:
            assert live.map_connection is not None
            live.map_connection.is_relied_on = True
        elif effect in (Effect.FINISH_STREAM, Effect.FINISH_STREAM_DRAINING):
            live.is_reading = False
            if effect is Effect.FINISH_STREAM_DRAINING and stream is not None:
                stream.to_client.append(pb.DaemonMessage(draining=pb.Draining()))
        elif effect is Effect.DROP_CHUNKS:
            live.session.detach()
        elif effect is Effect.LET_GO_OF_MAPS:
            live.map_connection, live.views, live.log = None, {}, None
            live.ring.let_go()
        elif effect is Effect.REMOVE_LOG:
            if live.log is not None and not live.log.is_locked and not live.ring.has_remains:
                self.files.pop(live.session.session_id, None)
        elif effect is Effect.END_RUNS:
            self.end_runs(live)
        elif effect is Effect.REMEMBER:
            self._ended.remember(live.session.session_id, live.session.remembered())
        elif effect is Effect.FORGET:
            assert live.session.open_parts == 0, "a session is forgotten before it is written"
            assert live.session.counters.balanced, live.session.counters
            live.session.forget()
            del self.sessions[live.session.session_id]
        elif effect not in (Effect.SALVAGE, Effect.AWAIT_WRITTEN):  # which ``work`` sees to
            assert effect.name.startswith("END_STREAM"), effect
            return stream is not None
        return False

    def detach(self, live: LiveSession) -> None:
        """The stream ends: the daemon has ended it, or notices that the client has."""
        if live.stream is not None:
            live.stream.is_ended = True
            live.stream, live.is_reading, live.reads_ring = None, False, False
            self.fire(live, Event.DETACHED)

    def notice_streams(self) -> None:
        """Sees which clients have cut their streams."""
        for live in list(self.sessions.values()):
            if live.stream is not None and live.stream.is_cut:
                self.detach(live)

    def notice_maps(self) -> None:
        """Sees which clients have ended their map connections."""
        for live in list(self.sessions.values()):
            connection = live.map_connection
            if connection is not None and not connection.is_open:
                live.map_connection = None
                is_watched = self._can_watch and not connection.is_relied_on
                self.fire(live, Event.PEER_LEFT if is_watched else Event.PEER_ENDED)

    def advance(self, secs: float) -> None:
        """Puts the clock forward."""
        self.work()
        self.now += secs
        for live in self.sessions.values():
            live.session.look(self.now)
        for live in list(self.sessions.values()):
            if live.timer is not None and live.timer[0] <= self.now:
                _, event = live.timer
                live.timer = None
                self.fire(live, event)
            if live.watched_until is not None and live.watched_until <= self.now:
                live.watched_until = None
                self.fire(live, Event.PROCESS_RUNS)

    def work(self) -> None:
        """Does all that the daemon does by itself."""
        for live in list(self.sessions.values()):
            if live.watched_until is not None and live.session.session_id in self.dead:
                live.watched_until = None
                self.fire(live, Event.PROCESS_ENDED)
            if live.life.state is State.SALVAGING and self._salvage(live):
                self.fire(live, Event.SALVAGED)
            if live.life.state.ends_when_written and not live.session.open_parts:
                self.fire(live, Event.ALL_WRITTEN)
            self._tell(live)

    # Messages

    def has_room(self, live: LiveSession) -> bool:
        """Whether budgets allow reading on."""
        session = live.session
        return session.pending_bytes < BUDGETS.session_intake_bytes and self.intake.may_read(
            session.session_id, session.held_bytes, session.tensor_bytes
        )

    def take_message(self, live: LiveSession) -> bool:
        """Takes the next message of the session's stream; returns whether it could."""
        stream = live.stream
        if stream is None or not stream.to_daemon or not live.is_reading:
            return False
        if not self.has_room(live):
            return False
        message = stream.to_daemon.popleft()
        kind = message.WhichOneof("message")
        is_parked = kind == "records" and message.records.sparse
        assert not (live.reads_ring and kind in ("records", "chunk")) or is_parked
        if kind == "records":
            self._receive_message(live, message.records, live.views if live.reads_ring else None)
        elif kind == "committed":
            assert live.reads_ring
            assert live.ring.reading is not None
            assert live.ring.reading.sequence <= live.session.received_sequence
            live.ring.reading.commit(message.committed.sequence, message.committed.position)
        elif kind == "chunk":
            live.session.add_chunk(message.chunk)
        elif kind == "definitions":
            self._define(live, message.definitions)
        elif kind == "heard_rejections":
            live.session.telling.heard(message.heard_rejections)
        elif kind == "report":
            self.disk.admit(live.session.report(message.report, 1e9))
        return True

    def read_ring(self, live: LiveSession, limit_bytes: int) -> bool:
        """Takes what comes next of what was committed; returns whether it could."""
        ring = live.ring.reading
        if not live.reads_ring or ring is None or not ring.has_more or not self.has_room(live):
            return False
        self._turn(live, ring, ring.read(limit_bytes))
        return True

    def _salvage(self, live: LiveSession) -> bool:
        """Reads what a dead client left; returns False if it waits for room."""
        log = live.log
        assert log is not None
        if not self._take_parked(live, log):
            return False
        ring = live.ring.salvage(log, log.words(), live.session.received_sequence)
        while True:
            if not self.has_room(live):
                return False
            read = ring.read if ring.has_more else ring.salvage
            taken = read(_TURN_BYTES)
            if taken.position == ring.position:
                return True
            entries, live.defined_bytes = log.definitions(live.defined_bytes)
            for entry in entries:
                self._define(live, pb.Definitions.FromString(entry))
            self._turn(live, ring, taken)

    def _take_parked(self, live: LiveSession, log: LogMemory) -> bool:
        """As ``_salvage``, of what the client has moved out of its ring."""
        words, received = log.words(), live.session.received_sequence
        if received >= words.freed_sequence:
            return True
        parked = live.ring.parked(log.read_parked, log.size_bytes, words, received)
        while parked.look(_TURN_BYTES):
            pass
        entries, live.defined_bytes = log.definitions(live.defined_bytes)
        for entry in entries:
            self._define(live, pb.Definitions.FromString(entry))
        while self.has_room(live):
            frames = parked.take(_TURN_BYTES)
            settled = 0 if frames else words.freed_sequence
            records = pb.Records(frames=frames, sparse=True, settled_sequence=settled)
            self._receive_message(live, records, live.views)
            if not frames:
                return True
        return False

    def _turn(self, live: LiveSession, ring: SharedRing, taken: RingFrames) -> None:
        if taken.frames:
            self._receive(live, taken.frames, live.views)
        ring.advance(taken)

    def _define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        live.session.define(definitions, LOGDIRS)

    def _receive_message(
        self, live: LiveSession, records: pb.Records, views: Mapping[int, memoryview] | None
    ) -> None:
        walked = walk_message(
            records.frames, live.session.received_sequence, is_sparse=records.sparse
        )
        with self._checked(live, walked):
            if records.sparse:
                batch = live.session.receive_sparse(records, views)
            else:
                batch = live.session.receive(records.frames)
            self.disk.admit(batch)

    def _receive(
        self,
        live: LiveSession,
        frames: Sequence[WalkedFrames],
        views: Mapping[int, memoryview] | None,
    ) -> None:
        with self._checked(live, frames):
            self.disk.admit(live.session.receive_walked(frames, views))

    @contextmanager
    def _checked(self, live: LiveSession, frames: Sequence[WalkedFrames]) -> Iterator[None]:
        """Tells the ledger what of ``frames`` is rejected meanwhile; checks the counts of it."""
        session = live.session
        before = session.received_sequence
        counted = Counter(session.counters.rejected)
        known = self.disk.admitted(session.session_id)
        yield
        admitted = self.disk.admitted(session.session_id) - known
        expected: Counter[int] = Counter()
        for kind, sequence in _headers(frames):
            if sequence <= before or sequence in admitted:
                continue
            key = session.session_id, sequence
            content = self._ledger.records[key].content
            if kind == FrameKind.END_RUN:
                self._ledger.written(self.life, *key, content)
                continue
            if kind == FrameKind.ABORTED:
                reason = pb.CAPTURE_FAILED
            elif kind == FrameKind.END_RUN:
                self._ledger.written(self.life, *key, content)
                continue
            else:
                reason = pb.INVALID_NAME if content.tag == BAD_TAG else pb.RUN_REFUSED
            expected[reason] += 1
            self._ledger.rejected(self.life, *key, reason)
        assert Counter(session.counters.rejected) - counted == expected

    def _tell(self, live: LiveSession) -> None:
        if live.stream is not None and live.session.telling.has_news:
            live.stream.to_client.extend(live.session.telling.take())

    def refuse_run(self, which: int) -> None:
        """A run's directory is refused from now on; its members are told."""
        run = self.disk.refuse(which)
        if run is not None:
            for session_id, _ in run.members:
                session = self.sessions[session_id].session
                for refusal in session.schema.refusals_of(run):
                    session.telling.refuse(refusal)

    # Rules

    def check(self) -> None:
        """What holds between any two actions."""
        for live in self.sessions.values():
            session = live.session
            assert session.counters.balanced, session.counters
            assert session.counters.pending >= 0
            assert session.written_sequence <= session.received_sequence
        assert self.intake.held_bytes >= self.disk.queued_bytes
        assert self.intake.held_bytes <= BUDGETS.intake_bytes + (1 << 16)

    def check_drained(self) -> None:
        """What holds once everything is written."""
        assert self.disk.is_idle
        for live in self.sessions.values():
            assert live.session.open_parts == live.session.pending_bytes == 0
            assert live.session.counters.pending == 0
        assert self.intake.held_bytes == 0


def _headers(frames: Iterable[WalkedFrames]) -> Iterator[tuple[int, int]]:
    """The kind and the sequence number of each frame."""
    for walked in frames:
        if isinstance(walked, ScalarFrames):
            for header in walked.headers:
                yield FrameKind.SCALAR, int(header["sequence"])
        else:
            yield walked.kind, walked.sequence
