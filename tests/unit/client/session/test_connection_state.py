"""The connection's state table: every pair, and any history of what can happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from boardd_client.session.connection_state import (
    CONNECTED,
    FIRST_BACKOFF_SECS,
    LAST_BACKOFF_SECS,
    ON_ITS_WAY_SECS,
    REFUSAL_CODES,
    REFUSED_BACKOFF_SECS,
    RESTART_SECS,
    START_AGAIN_SECS,
    TRANSITIONS,
    Complain,
    Connect,
    ConnectionState,
    Disconnect,
    Effect,
    Event,
    GiveUp,
    ImpossibleEventError,
    Lack,
    Recover,
    Refuse,
    StartDaemon,
    State,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

REFUSAL = "UNAUTHENTICATED"


def made(*, may_start_daemon: bool = True, jitter: float = 1.0) -> ConnectionState:
    return ConnectionState(may_start_daemon=may_start_daemon, jitter=lambda: jitter)


#: What the caller says, by the event that it becomes; at 100 s.
SAID: dict[Event, Callable[[ConnectionState], list[Effect]]] = {
    Event.OPENED: lambda c: c.opened(100.0),
    Event.UNANSWERED: lambda c: c.open_failed("UNAVAILABLE", "nobody", 100.0),
    Event.OPEN_FAILED: lambda c: c.open_failed("DEADLINE_EXCEEDED", "late", 100.0),
    Event.OPEN_REFUSED: lambda c: c.open_failed(REFUSAL, "no", 100.0),
    Event.DAEMON_STARTED: lambda c: c.daemon_started(100.0),
    Event.START_FAILED: lambda c: c.start_failed("no daemon", 100.0),
    Event.LEAVE_ANNOUNCED: lambda c: c.leave_announced(),
    Event.ENDED: lambda c: c.stream_ended("CANCELLED", "over", 100.0),
    Event.EXPELLED: lambda c: c.stream_ended(REFUSAL, "out", 100.0),
    Event.WINDOW_FULL: lambda c: c.window(is_full=True),
    Event.WINDOW_OPEN: lambda c: c.window(is_full=False),
    Event.DEFECT: lambda c: c.defect(100.0),
    Event.STOPPED: lambda c: c.stop(),
}
#: These the machine finds by itself, in ``update``.
FOUND = {Event.NEEDED, Event.RETRY_DUE}


def in_state(state: State) -> ConnectionState:
    connection = made()
    connection.state = state
    return connection


def test_every_event_is_said_or_found_and_every_state_has_a_row() -> None:
    assert SAID.keys() | FOUND == set(Event)
    assert TRANSITIONS.keys() == set(State)


@pytest.mark.parametrize("event", SAID)
@pytest.mark.parametrize("state", State)
def test_what_is_said_moves_as_the_table_says_or_raises(state: State, event: Event) -> None:
    connection = in_state(state)
    # The end of a stream was announced while it drains, so its code does not matter.
    is_announced = (state, event) == (State.DRAINING, Event.EXPELLED)
    after = TRANSITIONS[state].get(Event.ENDED if is_announced else event)
    if after is None:
        with pytest.raises(ImpossibleEventError, match=f"{state.name}$"):
            SAID[event](connection)
        assert connection.state is state
        return
    effects = SAID[event](connection)
    assert connection.state is after
    left = state in CONNECTED and after not in CONNECTED
    assert effects.count(Disconnect()) == int(left or event is Event.DEFECT)
    assert effects.count(Connect()) == int(after is State.OPENING)
    assert effects.count(StartDaemon()) == int(after is State.STARTING)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("is_needed", [False, True])
def test_time_and_need_begin_a_try_only_without_one(state: State, is_needed: bool) -> None:
    connection = in_state(state)
    connection.retry_at = 100.0
    assert connection.update(99.0, is_needed=is_needed and state is not State.IDLE) == []
    begins = state in (State.BACKING_OFF, State.REFUSED) or (state is State.IDLE and is_needed)
    assert connection.update(100.0, is_needed=is_needed) == ([Connect()] if begins else [])
    assert connection.state is (State.OPENING if begins else state)


def test_backoff_doubles_up_to_a_second_and_its_third_time_is_complained_about() -> None:
    connection = made(may_start_daemon=False)
    now, waits, effects = 0.0, [], []
    assert connection.update(now, is_needed=True) == [Connect()]
    for _ in range(8):
        effects += connection.open_failed("UNAVAILABLE", "nobody", now)
        waits.append(connection.retry_at - now)
        if len(waits) == 2:
            assert effects == []
        now = connection.retry_at
        assert connection.update(now, is_needed=True) == [Connect()]
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
    assert effects == [Complain("nobody")]
    assert connection.trouble == "nobody"
    assert connection.opened(now) == [Recover()]
    assert connection.trouble == ""


def test_only_a_stream_that_lasted_begins_the_backoff_anew() -> None:
    connection = made(may_start_daemon=False)
    now = 0.0
    connection.update(now, is_needed=True)
    for expected in (0.05, 0.1, 0.2):  # opened, and lost at once
        connection.opened(now)
        connection.stream_ended("CANCELLED", "over", now + LAST_BACKOFF_SECS)
        now += LAST_BACKOFF_SECS
        assert connection.retry_at - now == pytest.approx(expected)
        now = connection.retry_at
        connection.update(now, is_needed=True)
    connection.opened(now)
    now += LAST_BACKOFF_SECS + 0.01
    assert connection.stream_ended("CANCELLED", "over", now) == [Disconnect()]
    assert connection.retry_at - now == pytest.approx(FIRST_BACKOFF_SECS)


def test_an_announced_end_is_no_trouble_and_is_followed_at_once() -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    connection.opened(0.0)
    assert connection.leave_announced() == []
    assert connection.stream_ended(REFUSAL, "leaving", 0.5) == [Disconnect()]
    assert connection.state is State.BACKING_OFF
    assert connection.retry_at == 0.5 + FIRST_BACKOFF_SECS
    assert connection.trouble == ""


@pytest.mark.parametrize("code", sorted(REFUSAL_CODES))
def test_a_refusal_is_told_and_tried_again_after_seconds(code: str) -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    assert connection.open_failed(code, "no", 0.0) == [Refuse("no"), Complain("no")]
    assert connection.update(REFUSED_BACKOFF_SECS - 0.01, is_needed=True) == []
    assert connection.update(REFUSED_BACKOFF_SECS, is_needed=True) == [Connect()]
    assert connection.open_failed(code, "still no", 5.0) == [Refuse("still no")]
    assert connection.trouble == "still no"


def test_a_daemon_is_started_once_in_five_seconds() -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    assert connection.open_failed("UNAVAILABLE", "nobody", 0.0) == [StartDaemon()]
    assert connection.daemon_started(3.0) == [Connect()]
    assert connection.open_failed("UNAVAILABLE", "nobody", 3.1) == []
    assert connection.state is State.BACKING_OFF
    connection.update(7.9, is_needed=True)
    assert connection.open_failed("UNAVAILABLE", "nobody", 3.0 + START_AGAIN_SECS) == [
        StartDaemon()
    ]
    assert connection.start_failed("no disk", 9.0) == [Complain("no disk")]
    assert connection.trouble == "no disk"
    connection.update(10.0, is_needed=True)
    assert connection.open_failed("UNAVAILABLE", "nobody", 10.0) == []
    assert connection.state is State.BACKING_OFF


def lacking(connection: ConnectionState, now: float, *, was_killed: bool = False) -> list[Effect]:
    """Looks for a daemon in vain, and finds that none can be had; returns what follows."""
    connection.update(now, is_needed=True)
    assert connection.open_failed("UNAVAILABLE", "nobody", now) == [StartDaemon()]
    return connection.start_failed("none installed", now, is_final=True, was_killed=was_killed)


def test_a_daemon_that_cannot_be_had_is_told_at_once_and_soon_waited_for_no_longer() -> None:
    connection = made()
    assert lacking(connection, 0.0) == [Lack("none installed")]
    assert connection.update(ON_ITS_WAY_SECS - 0.01, is_needed=True) == [Connect()]
    assert connection.open_failed("UNAVAILABLE", "nobody", ON_ITS_WAY_SECS - 0.01) == []
    assert not connection.is_given_up
    assert connection.update(ON_ITS_WAY_SECS, is_needed=True) == [GiveUp()]
    assert connection.is_given_up
    # Told once, and looked for all the same.
    assert lacking(connection, START_AGAIN_SECS) == []
    assert connection.is_given_up
    assert connection.update(START_AGAIN_SECS + 1, is_needed=True) == [Connect()]
    assert connection.opened(START_AGAIN_SECS + 1) == [Recover()]
    assert not connection.is_given_up


def test_one_that_was_killed_is_waited_for_a_little_longer_and_told_of_once() -> None:
    connection = made()
    assert lacking(connection, 0.0, was_killed=True) == [Lack("none installed")]
    for tries in range(1, 10):
        now = RESTART_SECS * tries / 10
        assert connection.update(now, is_needed=True) == [Connect()]
        effects = connection.open_failed("UNAVAILABLE", "nobody", now)
        if effects == [StartDaemon()]:
            effects = connection.start_failed("none installed", now, is_final=True)
        assert effects == []
        assert not connection.is_given_up
        assert connection.trouble == "none installed"
    assert connection.update(RESTART_SECS, is_needed=True) == [GiveUp()]


def test_why_none_could_be_started_says_more_than_that_nobody_answers() -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    connection.opened(0.0)
    connection.stream_ended("UNAVAILABLE", "killed", 10.0)
    lacking(connection, 20.0)
    for now in range(21, 25):
        connection.update(float(now), is_needed=True)
        connection.open_failed("UNAVAILABLE", "nobody", float(now))
        assert connection.trouble == "none installed"


def test_one_that_was_there_or_may_come_is_waited_for() -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    connection.opened(0.0)
    connection.stream_ended("UNAVAILABLE", "killed", 10.0)
    assert lacking(connection, 20.0) == [Complain("none installed")]
    for now in range(21, 60):
        connection.update(float(now), is_needed=True)
        assert not connection.is_given_up
        if connection.state is State.OPENING:
            connection.open_failed("DEADLINE_EXCEEDED", "nobody", float(now))

    connection = made()
    lacking(connection, 0.0)
    connection.update(ON_ITS_WAY_SECS, is_needed=True)
    connection.update(ON_ITS_WAY_SECS, is_needed=True)
    connection.open_failed("UNAVAILABLE", "nobody", START_AGAIN_SECS)
    connection.start_failed("another process has been starting one", START_AGAIN_SECS)
    assert not connection.is_given_up


def test_only_a_daemon_that_does_not_answer_is_started() -> None:
    connection = made()
    connection.update(0.0, is_needed=True)
    assert connection.open_failed("DEADLINE_EXCEEDED", "stopped", 0.0) == []
    remote = made(may_start_daemon=False)
    remote.update(0.0, is_needed=True)
    assert remote.open_failed("UNAVAILABLE", "nobody", 0.0) == []
    assert remote.state is State.BACKING_OFF


@given(st.floats(0.5, 1.0))
def test_jitter_shortens_each_wait_by_half_at_most(jitter: float) -> None:
    connection = made(may_start_daemon=False, jitter=jitter)
    connection.update(0.0, is_needed=True)
    connection.open_failed("UNAVAILABLE", "nobody", 0.0)
    assert connection.retry_at == FIRST_BACKOFF_SECS * jitter
    connection.update(1.0, is_needed=True)
    connection.open_failed(REFUSAL, "no", 1.0)
    assert connection.retry_at == 1.0 + REFUSED_BACKOFF_SECS * jitter


class Histories(RuleBasedStateMachine):
    """A caller that performs effects as it should, in a world in which anything fails."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jitter = 1.0
        self.connection = ConnectionState(may_start_daemon=True, jitter=lambda: self.jitter)
        self.trying = False
        self.starting = False
        self.connected = False
        self.logged = False
        self.stopped = False
        self.complained = False
        self.last_start_at = -START_AGAIN_SECS

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if effect == Connect():
                assert not self.trying
                assert not self.connected
                assert self.logged
                assert not self.stopped
                self.trying = True
            elif effect == StartDaemon():
                assert not self.starting
                assert not self.trying
                assert self.now >= self.last_start_at + START_AGAIN_SECS
                self.starting = True
            elif effect == Disconnect():
                self.connected = False
            elif effect == GiveUp():
                assert self.complained
                assert self.connection.is_given_up
            elif isinstance(effect, Complain | Lack):
                assert not self.complained
                assert effect.text
                self.complained = True
            elif effect == Recover():
                assert self.complained
                self.complained = False

    @rule(secs=st.floats(0.0, 20.0), logs=st.booleans())
    def pass_time(self, secs: float, logs: bool) -> None:
        self.now += secs
        self.logged = self.logged or logs
        was_refused = self.connection.state is State.REFUSED
        effects = self.connection.update(self.now, is_needed=self.logged)
        if was_refused and secs >= REFUSED_BACKOFF_SECS and effects != [GiveUp()]:
            assert effects == [Connect()]
        self.perform(effects)

    @rule(jitter=st.floats(0.5, 1.0))
    def draw(self, jitter: float) -> None:
        self.jitter = jitter

    @precondition(lambda self: self.trying)
    @rule(secs=st.floats(0.0, 10.0))
    def open(self, secs: float) -> None:
        self.now += secs
        self.trying, self.connected = False, True
        self.perform(self.connection.opened(self.now))

    @precondition(lambda self: self.trying)
    @rule(code=st.sampled_from(["UNAVAILABLE", "DEADLINE_EXCEEDED", REFUSAL]))
    def fail(self, code: str) -> None:
        self.trying = False
        effects = self.connection.open_failed(code, code, self.now)
        assert (Refuse(code) in effects) == (code == REFUSAL)
        self.perform(effects)
        wait_secs = self.connection.retry_at - self.now
        if self.connection.state is State.BACKING_OFF:
            assert wait_secs >= FIRST_BACKOFF_SECS / 2 - 1e-6
        elif self.connection.state is State.REFUSED:
            assert wait_secs >= REFUSED_BACKOFF_SECS / 2 - 1e-6

    @precondition(lambda self: self.starting)
    @rule(secs=st.floats(0.0, 60.0), works=st.booleans(), is_final=st.booleans())
    def start(self, secs: float, works: bool, is_final: bool) -> None:
        self.now += secs
        self.starting, self.last_start_at = False, self.now
        if works:
            self.perform(self.connection.daemon_started(self.now))
        else:
            self.perform(self.connection.start_failed("no daemon", self.now, is_final=is_final))

    @precondition(lambda self: self.connected)
    @rule()
    def announce_leave(self) -> None:
        self.perform(self.connection.leave_announced())

    @precondition(lambda self: self.connected)
    @rule(code=st.sampled_from(["OK", "UNAVAILABLE", "CANCELLED", REFUSAL]))
    def end_stream(self, code: str) -> None:
        self.perform(self.connection.stream_ended(code, code, self.now))
        assert not self.connected

    @precondition(lambda self: self.connection.state in (State.OPEN, State.HELD_UP))
    @rule(is_full=st.booleans())
    def send(self, is_full: bool) -> None:
        self.perform(self.connection.window(is_full=is_full))
        assert self.connected

    @precondition(lambda self: not self.stopped)
    @rule()
    def meet_a_defect(self) -> None:
        if self.starting:
            self.last_start_at = self.now
        self.trying = self.starting = False
        self.perform(self.connection.defect(self.now))

    @precondition(lambda self: self.now > 100)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        self.trying = self.starting = False
        self.perform(self.connection.stop())

    @invariant()
    def the_states_agree(self) -> None:
        state = self.connection.state
        assert self.connected == (state in CONNECTED)
        assert self.trying == (state is State.OPENING)
        assert self.starting == (state is State.STARTING)
        assert self.stopped == (state is State.CLOSED)
        assert self.complained == bool(self.connection.trouble)
        assert not (self.connected and self.connection.is_given_up)

    @invariant()
    def the_next_try_is_near(self) -> None:
        wait_secs = self.connection.retry_at - self.now
        if self.connection.state is State.BACKING_OFF:
            assert wait_secs <= LAST_BACKOFF_SECS + 1e-6
        elif self.connection.state is State.REFUSED:
            assert wait_secs <= REFUSED_BACKOFF_SECS + 1e-6


TestHistories = Histories.TestCase
