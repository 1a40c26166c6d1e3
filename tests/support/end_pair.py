"""A client's end and a daemon's end in one thread, and all that lies between them.

A wire whose ends notice a cut at their own time, a disk that writes when it is told to, a
clock that is put forward, and processes that can be killed. After each action the rules of
both ends are checked; ``settle`` then brings both ends to rest, and checks that every
accepted record was written once or rejected once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, Protocol

from boardd.core.errors import UnknownSessionError
from boardd.core.session.lifecycle import Event, State
from boardd.sessions.effects import FAREWELL_SECS
from boardd_client.session import connection_state
from boardd_client.session.connection_state import (
    Connect,
    ConnectionState,
    Disconnect,
    Effect,
    Refuse,
    StartDaemon,
)

from support.pair_client import ClientEnd
from support.pair_daemon import (
    BUDGETS,
    DaemonEnd,
    LiveSession,
    MapConnection,
    Stream,
)
from support.pair_ledger import Ledger
from support.ring_memory import LogMemory

HELPING_BYTES: Final = 200
#: Rounds in which both ends come to rest.
_MAX_ROUNDS: Final = 100


class Answer(Enum):
    """What becomes of a client's try to connect."""

    OPENS = auto()
    #: It refuses map 0: records come by value.
    OPENS_BY_VALUE = auto()
    #: It takes map 0, and its answer comes too late. One that cannot watch processes takes the
    #: client for dead.
    HESITATES = auto()
    #: Nobody answers until a daemon is started.
    STARTS = auto()
    #: Nobody answers, and no daemon can be started.
    IS_AWAY = auto()
    REFUSES = auto()


class Action(Protocol):
    """One thing that happens."""

    def do(self, pair: EndPair) -> None:
        """Makes it happen; nothing, if it cannot happen now."""


class EndPair:
    """See the module.

    ``is_shareable``: the client has memory that the daemon can read. ``can_watch``: the
    daemon can watch processes, which takes pidfd.
    """

    def __init__(self, *, is_shareable: bool = True, can_watch: bool = True) -> None:
        self.now = 0.0
        self.ledger = Ledger()
        #: States that the daemon's sessions and the client's connections have been in.
        self.visited: set[State | connection_state.State] = set()
        self.stream: Stream | None = None  #: the client's
        self._is_shareable = is_shareable
        self._can_watch = can_watch
        self._clients = self._lives = 0
        self._streams: list[Stream] = []  # all there were
        self._connection: MapConnection | None = None
        self._told_life = 0  # of the daemon that the client last opened its session with
        #: Of a dead client: the last record that the daemon has to find.
        self._recoverable: dict[bytes, int] = {}
        self._files: dict[bytes, LogMemory] = {}  # the logs that daemons find
        self._begin_daemon()
        self._begin_client()

    def _begin_daemon(self) -> None:
        self.daemon = DaemonEnd(self._lives, self.ledger, self._files, can_watch=self._can_watch)
        self.daemon.now = self.now
        self._lives += 1

    def _begin_client(self) -> None:
        self._clients += 1
        self.client = ClientEnd(self._clients, self.ledger, is_shareable=self._is_shareable)
        if self._is_shareable:
            self._files[self.client.session_id] = self.client.log
        self.state = ConnectionState(may_start_daemon=True, jitter=lambda: 1.0)
        self._note_state()

    @property
    def live(self) -> LiveSession | None:
        """The client's session in the daemon."""
        return self.daemon.sessions.get(self.client.session_id)

    # The client's connection, as ``Connector`` makes it

    def connect(self, answer: Answer, late: int = 0) -> None:
        """The client tries to connect as soon as it may, if it has no connection and needs one.

        ``late`` messages of the stream before arrive after the session is opened anew.
        """
        self._note_end()
        if self.stream is not None:
            return
        self.pass_time(max(0.0, self.state.retry_at - self.now))
        is_needed = self.client.ring.last_sequence > 0
        effects = self.state.update(self.now, is_needed=is_needed)
        while effects:
            self._note_state()
            match effects:
                case [Connect()]:
                    effects = self._open(answer, late)
                case [StartDaemon()] if answer is Answer.STARTS:
                    effects, answer = self.state.daemon_started(self.now), Answer.OPENS
                case [StartDaemon()]:
                    effects = self.state.start_failed("no daemon", self.now)
                case _:
                    self._perform(effects)
                    effects = []

    def _open(self, answer: Answer, late: int) -> list[Effect]:
        session, daemon = self.client.session, self.daemon
        if answer is Answer.REFUSES:
            return self.state.open_failed("PERMISSION_DENIED", "refused", self.now)
        if answer in (Answer.IS_AWAY, Answer.STARTS):
            return self.state.open_failed("UNAVAILABLE", "away", self.now)
        if self._told_life != daemon.life:
            self.ledger.forgotten(daemon.life, self.client.session_id, self.client.knows_done)
            self._told_life = daemon.life
        if self._connection is None and self._hand_over(answer, is_held=False) is None:
            session.disconnected()
            return self.state.open_failed("DEADLINE_EXCEEDED", "no answer", self.now)
        reply = daemon.open(session.open_request("host", 7, "trainer"))
        is_shared = self._hand_over(answer, is_held=reply.holds_maps)
        if is_shared is None:
            session.disconnected()
            return self.state.open_failed("DEADLINE_EXCEEDED", "no answer", self.now)
        session.opened(reply, is_shared=is_shared)
        self.deliver(late)
        stream = Stream()
        try:
            daemon.attach(session.attachment(), stream)
        except UnknownSessionError as error:
            session.disconnected()
            return self.state.open_failed("NOT_FOUND", str(error), self.now)
        self.stream = stream
        self._streams.append(stream)
        return self.state.opened(self.now)

    def _hand_over(self, answer: Answer, *, is_held: bool) -> bool | None:
        """Whether the daemon holds the client's map; None if it has not said so in time."""
        if not self.client.is_shareable:
            return False
        if self._connection is not None and is_held:
            return True
        connection = MapConnection(self.client.memory, self.client.log)
        is_taken = answer is not Answer.OPENS_BY_VALUE
        is_taken = is_taken and self.daemon.share(self.client.session_id, connection)
        self._end_connection()
        if answer is Answer.HESITATES:
            connection.is_open = False
            return None
        self._connection = connection if is_taken else None
        return is_taken

    def cut(self) -> None:
        """The stream breaks; what the client has not heard is lost."""
        if self.stream is not None:
            self._perform(self.state.stream_ended("UNAVAILABLE", "cut", self.now))

    def send(self, max_bytes: int) -> None:
        """The client's sender does a round."""
        self._note_end()
        self.client.resolve()
        if self.stream is not None and self.state.state is not connection_state.State.DRAINING:
            session = self.client.session
            messages = session.next_messages(max_bytes, now=self.now)
            self.stream.to_daemon.extend(messages)
            is_full = not messages and session.is_window_full
            self._perform(self.state.window(is_full=is_full))

    def hear(self, count: int) -> None:
        """The client takes up to ``count`` messages."""
        stream = self.stream
        while stream is not None and stream.to_client and count > 0:
            message = stream.to_client.popleft()
            self.client.hear(message)
            if message.HasField("draining"):
                self._perform(self.state.leave_announced())
            count -= 1

    def _note_end(self) -> None:
        if self.stream is not None and self.stream.is_ended:
            self.cut()

    def _perform(self, effects: Iterable[Effect]) -> None:
        self._note_state()
        for effect in effects:
            match effect:
                case Disconnect() if self.stream is not None:
                    self.stream.is_cut, self.stream = True, None
                    self.client.session.disconnected()
                case Refuse(text):
                    self.client.session.refused(text)

    def _note_state(self) -> None:
        self.visited.add(self.state.state)

    def deliver(self, count: int) -> None:
        """The daemon takes up to ``count`` messages of the client."""
        live = self.live
        while live is not None and count > 0 and self.daemon.take_message(live):
            count -= 1

    # Ends of processes

    def close(self) -> None:
        """The client's process ends in good order, if all is written; a new one begins."""
        session_id = self.client.session_id
        if self.live is None or self.stream is None or not self.client.session.is_drained:
            return
        self.daemon.end_runs(self.live)
        self._write_all()
        if self.daemon.close(session_id):
            self.client.check_drained()
            self._perform(self.state.stop())
            self._files.pop(session_id, None)
            self._replace_client()

    def kill_client(self) -> None:
        """The client's process is killed, and a new one with a new session begins."""
        client, live = self.client, self.live
        if client.is_shareable:
            self._recoverable[client.session_id] = client.ring.last_sequence
        elif live is not None:
            self._recoverable[client.session_id] = live.session.received_sequence
        self._replace_client()

    def _replace_client(self) -> None:
        if self.stream is not None:
            self.stream.is_cut, self.stream = True, None
        self._end_connection()
        self.client.log.is_locked = False
        self.daemon.dead.add(self.client.session_id)
        self._begin_client()

    def _end_connection(self) -> None:
        if self._connection is not None:
            self._connection.is_open, self._connection = False, None

    def kill_daemon(self) -> None:
        """The daemon's process is killed, and a new one knows nothing."""
        # What dead clients had sent and it had not written is gone with it, without a log.
        if not self._is_shareable:
            self._recoverable.clear()
        self._replace_daemon()

    def _replace_daemon(self) -> None:
        self.visited |= self.daemon.visited
        if self.stream is not None:
            self.stream.is_ended = True
        self._begin_daemon()

    def drain_daemon(self) -> None:
        """The daemon shuts down in good order: it writes what it has, says so, and ends."""
        daemon = self.daemon
        daemon.notice_maps()
        daemon.disk.go_on()
        daemon.fire_all(Event.DRAINING)
        self.pass_time(FAREWELL_SECS)
        self._write_all()
        for live in list(daemon.sessions.values()):
            daemon.end_runs(live)
        self._write_all()
        daemon.fire_all(Event.SHUT_DOWN)
        daemon.check_drained()
        self._replace_daemon()

    def _write_all(self) -> None:
        self.daemon.work()
        while self.daemon.disk.can_write:
            self.daemon.disk.write(0, 1 << 10)
            self.daemon.work()

    def pass_time(self, secs: float) -> None:
        """The clock goes on."""
        self.now += secs
        self.daemon.advance(secs)

    # Rules

    def do(self, actions: Iterable[Action]) -> None:
        """Does what a history says, and checks the rules after every action."""
        for action in actions:
            action.do(self)
            self.daemon.work()
            self.check()

    def check(self) -> None:
        """What holds between any two actions."""
        self.client.check()
        self.daemon.check()

    def settle(self) -> None:
        """Lets everything that is under way come to its end, and checks that all was done."""
        while self.client.copies:
            self.client.end_copy(0, fails=False)
        self.daemon.disk.go_on()
        for _ in range(_MAX_ROUNDS):
            is_drained = self.client.session.is_drained and self.daemon.disk.is_idle
            if is_drained and self._is_alone():
                break
            self.do_round()
            self.check()
        self.visited |= self.daemon.visited
        self.client.check_drained()
        self.daemon.check_drained()
        assert self._is_alone(), "the session of a dead client does not end"
        self.ledger.check_done(self.ledger.of(self.client.session_id))
        for session_id, last in self._recoverable.items():
            records = self.ledger.of(session_id)
            self.ledger.check_done(record for record in records if record.sequence <= last)

    def _is_alone(self) -> bool:
        """Whether no session is left but the client's."""
        known = self.daemon.sessions.keys() | self._files.keys()
        return known <= {self.client.session_id}

    def do_round(self) -> None:
        """Everything that is under way goes on, from one end to the other and back."""
        self.connect(Answer.OPENS)
        self.send(HELPING_BYTES)
        self.daemon.notice_maps()
        self.daemon.notice_streams()
        self.daemon.adopt()
        self.deliver(1 << 10)
        live = self.live
        while live is not None and self.daemon.read_ring(live, HELPING_BYTES):
            pass
        self._write_all()
        self.hear(1 << 10)
        self.pass_time(FAREWELL_SECS if self._is_alone() else BUDGETS.lease_secs)
        self.daemon.work()
