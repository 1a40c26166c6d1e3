"""The life of a session: every pair of state and event, and any history of them."""

from __future__ import annotations

import itertools

import pytest
from boardd.core.session.lifecycle import (
    TABLE,
    Effect,
    Event,
    Lifecycle,
    LifecycleError,
    State,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ENDS_OF_STREAM = {
    Effect.END_STREAM_FOR_NEWER,
    Effect.END_STREAM_FOR_NEW_RING,
    Effect.END_STREAM_OF_DEAD,
    Effect.END_STREAM_FOR_SHUTDOWN,
    Effect.FINISH_STREAM,
    Effect.FINISH_STREAM_DRAINING,
}

#: A shortest way to each state.
WAYS: dict[State, list[Event]] = {State.NEW: []}
while True:
    further = {
        step.state: [*way, event]
        for state, way in WAYS.items()
        for event, step in TABLE[state].items()
        if step.state not in WAYS
    }
    if not further:
        break
    WAYS.update(further)


class Daemon:
    """What the shell holds for one session, kept by the effects alone."""

    def __init__(self) -> None:
        self.life = Lifecycle()
        self.lease = self.farewell = self.watch = False
        self.stream = self.connection = self.maps = self.relied_on = False
        self.salvages = self.forgets = self.remembers = self.removes = 0
        self.awaits = self.was_abandoned = False

    @property
    def possible(self) -> list[Event]:
        """What the world around may do now; the table must know all of it."""
        state, events = self.life.state, list[Event]()
        if state is State.NEW:
            return [Event.OPENED, Event.MAPS_SHARED, Event.ADOPTED]
        if state is not State.FORGOTTEN:
            events += [Event.DRAINING, Event.SHUT_DOWN]
        if not state.is_over:
            events += [Event.OPENED]
        if not state.is_over and not state.is_ending:
            events += [Event.CLOSED, Event.MAPS_SHARED]
            if not self.stream:
                events += [Event.ATTACHED_BY_VALUE]
                events += [Event.ATTACHED_SHARED] if self.maps else []
        if self.stream:
            events += [Event.DETACHED]
            events += [Event.STREAM_ASKED] if state.has_stream else []
        if self.connection:
            events += [Event.PEER_ENDED]
            events += [] if self.relied_on else [Event.PEER_LEFT]
        if self.watch:
            events += [Event.PROCESS_ENDED, Event.PROCESS_RUNS]
        if self.lease:
            events += [Event.LEASE_ENDED, Event.ADOPTED]
        if self.farewell:
            events += [Event.FAREWELL_OVER]
        if state is State.SALVAGING:
            events += [Event.SALVAGED]
        if self.awaits and state.ends_when_written:
            events += [Event.ALL_WRITTEN]
        if state is State.ABANDONED:
            events += [Event.CLOSED]
        return events

    def fire(self, event: Event) -> None:
        """Changes what the event changes, fires it and performs the effects."""
        if event in (Event.ATTACHED_BY_VALUE, Event.ATTACHED_SHARED):
            self.stream = True
        elif event is Event.DETACHED:
            self.stream = False
        elif event is Event.MAPS_SHARED:
            self.connection = self.maps = True
            self.relied_on = False
        elif event is Event.ADOPTED:
            self.maps = True
        elif event in (Event.PEER_ENDED, Event.PEER_LEFT):
            self.connection = False
        elif event in (Event.PROCESS_ENDED, Event.PROCESS_RUNS):
            self.watch = False
        elif event is Event.LEASE_ENDED:
            self.lease = False
        elif event is Event.FAREWELL_OVER:
            self.farewell = False
        for effect in self.life.fire(event):
            self.perform(effect)
        self.was_abandoned |= self.life.state is State.ABANDONED

    def perform(self, effect: Effect) -> None:
        if effect is Effect.START_LEASE:
            assert not self.farewell
            self.lease = True
        elif effect is Effect.START_FAREWELL:
            assert not self.lease
            self.farewell = True
        elif effect is Effect.STOP_TIMER:
            self.lease = self.farewell = False
        elif effect is Effect.WATCH_PROCESS:
            self.watch = True
        elif effect is Effect.STOP_WATCHING:
            self.watch = False
        elif effect is Effect.RELY_ON_CONNECTION:
            self.relied_on = True
        elif effect is Effect.LET_GO_OF_MAPS:
            assert self.maps, "there is nothing to let go of"
            self.connection = self.maps = False
        elif effect is Effect.REMOVE_LOG:
            assert self.maps, "there is no log to remove"
            self.removes += 1
        elif effect is Effect.SALVAGE:
            assert self.maps, "there is no ring to read"
            self.salvages += 1
        elif effect is Effect.AWAIT_WRITTEN:
            self.awaits = True
        elif effect is Effect.REMEMBER:
            self.remembers += 1
        elif effect is Effect.FORGET:
            self.forgets += 1
        elif effect in ENDS_OF_STREAM:
            assert self.stream, "there is no stream to end"

    def check(self) -> None:
        state = self.life.state
        assert self.lease == (state is State.LEASED)
        assert self.watch == state.is_verifying
        assert self.connection == state.is_held
        assert not self.farewell or state is State.FAREWELL
        if not state.is_over:
            assert self.stream == state.has_stream
        kept_by = (
            self.lease,
            state.has_stream and not state.is_ending,
            not state.has_stream and (self.connection or self.watch),
            state is State.EXPIRING or state.is_ending,
        )
        assert sum(kept_by) == (not state.is_over)
        assert self.maps == (state.is_held or state.is_verifying or state.is_ending)
        assert self.salvages <= 1
        if not state.is_over:
            assert self.salvages == (state in (State.SALVAGING, State.DRAINING_DEAD))
        assert self.forgets == (state is State.FORGOTTEN)
        assert self.remembers <= self.forgets
        if state is not State.FORGOTTEN:
            assert not self.removes
        elif not self.was_abandoned:
            assert self.removes == self.salvages


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_an_event_is_in_the_table_or_changes_nothing(state: State, event: Event) -> None:
    life = Lifecycle()
    for before in WAYS[state]:
        life.fire(before)
    assert life.state is state
    step = TABLE[state].get(event)
    if step is None:
        with pytest.raises(LifecycleError, match=f"{event.name}.*{state.name}"):
            life.fire(event)
        assert life.state is state
    else:
        assert life.fire(event) == step.effects
        assert life.state is step.state


def test_a_session_that_is_over_stays_so() -> None:
    def reached(state: State) -> set[State]:
        return {step.state for step in TABLE[state].values()}

    assert reached(State.FORGOTTEN) == {State.FORGOTTEN}
    assert reached(State.ABANDONED) == {State.FORGOTTEN, State.ABANDONED}


def test_a_dead_client_never_comes_back() -> None:
    for state in State:
        for step in TABLE[state].values():
            assert not state.is_ending or step.state.is_ending or step.state.is_over


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_happens_one_thing_keeps_a_session_alive(data: st.DataObject) -> None:
    daemon = Daemon()
    for _ in range(data.draw(st.integers(1, 30))):
        possible = daemon.possible
        if not possible:
            break
        daemon.fire(data.draw(st.sampled_from(possible)))
        daemon.check()


def test_the_table_has_no_pair_that_cannot_happen() -> None:
    """Walks every history up to the point where nothing new is found."""
    seen: set[tuple[object, ...]] = set()
    used: set[tuple[State, Event]] = set()
    waiting: list[list[Event]] = [[]]
    while waiting:
        history = waiting.pop()
        daemon = Daemon()
        for event in history:
            daemon.fire(event)
            daemon.check()
        known = (daemon.life.state, *(bool(value) for value in list(vars(daemon).values())[1:]))
        if known in seen:
            continue
        seen.add(known)
        for event in daemon.possible:
            used.add((daemon.life.state, event))
            waiting.append([*history, event])
    assert used == {(state, event) for state, events in TABLE.items() for event in events}
