"""The life of a session as a table: state and event give the next state and what to do.

Nothing here reads a clock, waits or does I/O. ``Lifecycle.fire`` looks an event up in
``TABLE`` and returns effects as values; the caller performs them, in order. Events that
take time come back to it as events: a lease that ends, a process that is found dead, a
ring that is read to its end.

A session lives as long as one of these holds, and exactly one of them does:

- its lease runs (``LEASED``);
- a stream is attached (``ATTACHED_...``);
- its client's map connection is open (``HELD``), or nobody knows yet whether its client
  outlived it (``VERIFYING``);
- it is ending: its lease is over (``EXPIRING``), or its client is dead (``FAREWELL``,
  ``SALVAGING``, ``DRAINING_DEAD``). A client may still come back from the former, and
  never from the latter: it opens a new session behind what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple


class State(Enum):
    """Where a session is in its life."""

    #: Not opened yet.
    NEW = auto()
    #: No stream, no map connection; the client has its lease to come back.
    LEASED = auto()
    #: The lease is over, and what the session holds is being written.
    EXPIRING = auto()
    #: No stream, but the map connection is open: the client lives, so no lease runs.
    HELD = auto()
    #: No stream; the map connection ended, and its process is watched for a moment.
    VERIFYING = auto()
    #: A stream is attached, and the client shares nothing.
    ATTACHED_BY_VALUE = auto()
    #: A stream is attached that does not read the ring of the open map connection.
    ATTACHED_HELD = auto()
    #: A stream is attached that reads the ring of the open map connection.
    ATTACHED_SHARED = auto()
    #: As ``VERIFYING``, with a stream.
    ATTACHED_VERIFYING = auto()
    #: The client is dead; its stream has a moment for the last messages.
    FAREWELL = auto()
    #: The client is dead and has no stream; its ring is read to the end.
    SALVAGING = auto()
    #: The client is dead; all that its ring held is being written.
    DRAINING_DEAD = auto()
    #: The session is over.
    FORGOTTEN = auto()
    #: The daemon has shut down before the session was over.
    ABANDONED = auto()

    @property
    def has_stream(self) -> bool:
        """Whether a stream is attached, and a newer one has to wait for its end."""
        return self in _WITH_STREAM

    @property
    def is_held(self) -> bool:
        """Whether the client's map connection is open."""
        return self in _HELD

    @property
    def is_verifying(self) -> bool:
        """Whether it is being found out if the client has died."""
        return self in (State.VERIFYING, State.ATTACHED_VERIFYING)

    @property
    def is_ending(self) -> bool:
        """Whether the client is dead, and what it left is being written."""
        return self in _ENDING

    @property
    def is_absent(self) -> bool:
        """Whether the client is dead, or nothing but its lease says that it is not."""
        return self in _ABSENT

    @property
    def ends_when_written(self) -> bool:
        """Whether the session ends once every part that is out is back."""
        return self in (State.EXPIRING, State.DRAINING_DEAD)

    @property
    def is_over(self) -> bool:
        """Whether no stream may be attached any more, and none will be."""
        return self in (State.FORGOTTEN, State.ABANDONED)


class Event(Enum):
    """What happens to a session."""

    #: The client opened it, for the first time or again.
    OPENED = auto()
    #: The log of its client was found, which nobody locks: the client is dead.
    ADOPTED = auto()
    #: A newer stream wants to take the place of the attached one.
    STREAM_ASKED = auto()
    #: A stream was attached over which the records come.
    ATTACHED_BY_VALUE = auto()
    #: A stream was attached that reads the ring.
    ATTACHED_SHARED = auto()
    #: The stream ended.
    DETACHED = auto()
    #: A map connection brought map 0.
    MAPS_SHARED = auto()
    #: The session's map connection ended, and its process can be watched.
    PEER_LEFT = auto()
    #: The session's map connection ended, which is taken for the client's end.
    PEER_ENDED = auto()
    #: The process that was watched has ended.
    PROCESS_ENDED = auto()
    #: The process that was watched still runs: it let go of its memory alone.
    PROCESS_RUNS = auto()
    #: The stream of a dead client has had its moment.
    FAREWELL_OVER = auto()
    #: The ring of a dead client is read to its end.
    SALVAGED = auto()
    #: The lease is over.
    LEASE_ENDED = auto()
    #: Every part that was out is back.
    ALL_WRITTEN = auto()
    #: The client closed the session, and all that it sent is written.
    CLOSED = auto()
    #: The daemon begins to shut down.
    DRAINING = auto()
    #: The daemon waits no longer.
    SHUT_DOWN = auto()


class Effect(Enum):
    """What is to be done."""

    #: Start the lease, from its beginning if it runs already.
    START_LEASE = auto()
    #: Give the stream of a dead client its moment.
    START_FAREWELL = auto()
    #: Stop the lease or the farewell, whichever runs.
    STOP_TIMER = auto()
    #: Find out whether the process at the other end of the map connection has ended.
    WATCH_PROCESS = auto()
    #: Find that out no more.
    STOP_WATCHING = auto()
    #: Take the end of the map connection for the client's end: ``PEER_ENDED``, not ``PEER_LEFT``.
    RELY_ON_CONNECTION = auto()
    #: End the stream: a newer one takes its place.
    END_STREAM_FOR_NEWER = auto()
    #: End the stream: the ring that it reads was handed over anew.
    END_STREAM_FOR_NEW_RING = auto()
    #: End the stream: the client let go of the ring, as its death does.
    END_STREAM_OF_DEAD = auto()
    #: End the stream: the daemon has shut down.
    END_STREAM_FOR_SHUTDOWN = auto()
    #: Read no more of the stream; it ends when all that was received is told.
    FINISH_STREAM = auto()
    #: As ``FINISH_STREAM``, and tell the client to go to the next daemon.
    FINISH_STREAM_DRAINING = auto()
    #: Forget half-received tensors; the client sends them again from their start.
    DROP_CHUNKS = auto()
    #: Close the map connection and let go of ring and maps.
    LET_GO_OF_MAPS = auto()
    #: Tell what of a dead client's log is lost, and remove the log.
    REMOVE_LOG = auto()
    #: Read the dead client's ring to its end; ``SALVAGED`` follows.
    SALVAGE = auto()
    #: End every run that the session still logs to.
    END_RUNS = auto()
    #: Fire ``ALL_WRITTEN`` when every part is back, unless the state changes before.
    AWAIT_WRITTEN = auto()
    #: Note the last record, so that a client that does come back writes nothing twice.
    REMEMBER = auto()
    #: End the session's memberships and take it off the list.
    FORGET = auto()


class Step(NamedTuple):
    """Where an event leads, and what is to be done there."""

    state: State
    effects: tuple[Effect, ...] = ()


class LifecycleError(Exception):
    """An event that cannot happen in this state: a defect of the daemon."""


#: What each event means in each state. A pair that is missing cannot happen.
TABLE: Final[Mapping[State, Mapping[Event, Step]]] = {
    State.NEW: {
        Event.OPENED: Step(State.LEASED, (Effect.START_LEASE,)),
        # The client's first act, before it opens its session.
        Event.MAPS_SHARED: Step(State.HELD),
        Event.ADOPTED: Step(State.SALVAGING, (Effect.SALVAGE,)),
    },
    State.LEASED: {
        Event.OPENED: Step(State.LEASED, (Effect.START_LEASE,)),
        Event.ATTACHED_BY_VALUE: Step(State.ATTACHED_BY_VALUE, (Effect.STOP_TIMER,)),
        Event.MAPS_SHARED: Step(State.HELD, (Effect.STOP_TIMER,)),
        Event.ADOPTED: Step(State.SALVAGING, (Effect.STOP_TIMER, Effect.SALVAGE)),
        Event.LEASE_ENDED: Step(State.EXPIRING, (Effect.END_RUNS, Effect.AWAIT_WRITTEN)),
        Event.CLOSED: Step(State.FORGOTTEN, (Effect.STOP_TIMER, Effect.FORGET)),
        Event.DRAINING: Step(State.LEASED),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.STOP_TIMER,)),
    },
    State.EXPIRING: {
        Event.OPENED: Step(State.LEASED, (Effect.START_LEASE,)),
        Event.ATTACHED_BY_VALUE: Step(State.ATTACHED_BY_VALUE),
        Event.MAPS_SHARED: Step(State.HELD),
        Event.ALL_WRITTEN: Step(State.FORGOTTEN, (Effect.REMEMBER, Effect.FORGET)),
        Event.CLOSED: Step(State.FORGOTTEN, (Effect.FORGET,)),
        Event.DRAINING: Step(State.EXPIRING),
        Event.SHUT_DOWN: Step(State.ABANDONED),
    },
    State.HELD: {
        Event.OPENED: Step(State.HELD),
        Event.ATTACHED_BY_VALUE: Step(State.ATTACHED_HELD),
        Event.ATTACHED_SHARED: Step(State.ATTACHED_SHARED, (Effect.RELY_ON_CONNECTION,)),
        Event.MAPS_SHARED: Step(State.HELD),
        Event.PEER_LEFT: Step(State.VERIFYING, (Effect.WATCH_PROCESS,)),
        Event.PEER_ENDED: Step(State.SALVAGING, (Effect.SALVAGE,)),
        Event.CLOSED: Step(State.FORGOTTEN, (Effect.LET_GO_OF_MAPS, Effect.FORGET)),
        Event.DRAINING: Step(State.HELD),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.LET_GO_OF_MAPS,)),
    },
    State.VERIFYING: {
        Event.OPENED: Step(State.VERIFYING),
        Event.ATTACHED_BY_VALUE: Step(State.ATTACHED_VERIFYING),
        # A stream that reads the ring proves nothing: the connection's end was there before.
        Event.ATTACHED_SHARED: Step(State.FAREWELL, (Effect.STOP_WATCHING, Effect.START_FAREWELL)),
        Event.MAPS_SHARED: Step(State.HELD, (Effect.STOP_WATCHING,)),
        Event.PROCESS_ENDED: Step(State.SALVAGING, (Effect.SALVAGE,)),
        Event.PROCESS_RUNS: Step(State.LEASED, (Effect.LET_GO_OF_MAPS, Effect.START_LEASE)),
        Event.CLOSED: Step(
            State.FORGOTTEN, (Effect.STOP_WATCHING, Effect.LET_GO_OF_MAPS, Effect.FORGET)
        ),
        Event.DRAINING: Step(State.VERIFYING),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.STOP_WATCHING, Effect.LET_GO_OF_MAPS)),
    },
    # A client that opens its session again has left its stream. Nothing more may come over that:
    # the client goes on behind what the answer says was received.
    State.ATTACHED_BY_VALUE: {
        Event.OPENED: Step(State.ATTACHED_BY_VALUE, (Effect.END_STREAM_FOR_NEWER,)),
        Event.STREAM_ASKED: Step(State.ATTACHED_BY_VALUE, (Effect.END_STREAM_FOR_NEWER,)),
        Event.DETACHED: Step(State.LEASED, (Effect.DROP_CHUNKS, Effect.START_LEASE)),
        Event.MAPS_SHARED: Step(State.ATTACHED_HELD),
        Event.CLOSED: Step(State.FORGOTTEN, (Effect.FINISH_STREAM, Effect.FORGET)),
        Event.DRAINING: Step(State.ATTACHED_BY_VALUE, (Effect.FINISH_STREAM_DRAINING,)),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.END_STREAM_FOR_SHUTDOWN,)),
    },
    State.ATTACHED_HELD: {
        Event.OPENED: Step(State.ATTACHED_HELD, (Effect.END_STREAM_FOR_NEWER,)),
        Event.STREAM_ASKED: Step(State.ATTACHED_HELD, (Effect.END_STREAM_FOR_NEWER,)),
        Event.DETACHED: Step(State.HELD, (Effect.DROP_CHUNKS,)),
        Event.MAPS_SHARED: Step(State.ATTACHED_HELD),
        Event.PEER_LEFT: Step(State.ATTACHED_VERIFYING, (Effect.WATCH_PROCESS,)),
        Event.PEER_ENDED: Step(State.FAREWELL, (Effect.START_FAREWELL,)),
        Event.CLOSED: Step(
            State.FORGOTTEN, (Effect.FINISH_STREAM, Effect.LET_GO_OF_MAPS, Effect.FORGET)
        ),
        Event.DRAINING: Step(State.ATTACHED_HELD, (Effect.FINISH_STREAM_DRAINING,)),
        Event.SHUT_DOWN: Step(
            State.ABANDONED, (Effect.END_STREAM_FOR_SHUTDOWN, Effect.LET_GO_OF_MAPS)
        ),
    },
    State.ATTACHED_SHARED: {
        Event.OPENED: Step(State.ATTACHED_SHARED, (Effect.END_STREAM_FOR_NEWER,)),
        Event.STREAM_ASKED: Step(State.ATTACHED_SHARED, (Effect.END_STREAM_FOR_NEWER,)),
        Event.DETACHED: Step(State.HELD, (Effect.DROP_CHUNKS,)),
        # The stream reads the ring of before until it has ended.
        Event.MAPS_SHARED: Step(State.ATTACHED_HELD, (Effect.END_STREAM_FOR_NEW_RING,)),
        Event.PEER_ENDED: Step(State.FAREWELL, (Effect.START_FAREWELL,)),
        Event.CLOSED: Step(
            State.FORGOTTEN, (Effect.FINISH_STREAM, Effect.LET_GO_OF_MAPS, Effect.FORGET)
        ),
        Event.DRAINING: Step(State.ATTACHED_SHARED, (Effect.FINISH_STREAM_DRAINING,)),
        Event.SHUT_DOWN: Step(
            State.ABANDONED, (Effect.END_STREAM_FOR_SHUTDOWN, Effect.LET_GO_OF_MAPS)
        ),
    },
    State.ATTACHED_VERIFYING: {
        Event.OPENED: Step(State.ATTACHED_VERIFYING, (Effect.END_STREAM_FOR_NEWER,)),
        Event.STREAM_ASKED: Step(State.ATTACHED_VERIFYING, (Effect.END_STREAM_FOR_NEWER,)),
        Event.DETACHED: Step(State.VERIFYING, (Effect.DROP_CHUNKS,)),
        Event.MAPS_SHARED: Step(State.ATTACHED_HELD, (Effect.STOP_WATCHING,)),
        Event.PROCESS_ENDED: Step(State.FAREWELL, (Effect.START_FAREWELL,)),
        Event.PROCESS_RUNS: Step(State.ATTACHED_BY_VALUE, (Effect.LET_GO_OF_MAPS,)),
        Event.CLOSED: Step(
            State.FORGOTTEN,
            (Effect.FINISH_STREAM, Effect.STOP_WATCHING, Effect.LET_GO_OF_MAPS, Effect.FORGET),
        ),
        Event.DRAINING: Step(State.ATTACHED_VERIFYING, (Effect.FINISH_STREAM_DRAINING,)),
        Event.SHUT_DOWN: Step(
            State.ABANDONED,
            (Effect.END_STREAM_FOR_SHUTDOWN, Effect.STOP_WATCHING, Effect.LET_GO_OF_MAPS),
        ),
    },
    State.FAREWELL: {
        Event.OPENED: Step(State.FAREWELL),
        Event.STREAM_ASKED: Step(State.FAREWELL, (Effect.END_STREAM_FOR_NEWER,)),
        Event.FAREWELL_OVER: Step(State.FAREWELL, (Effect.END_STREAM_OF_DEAD,)),
        Event.DETACHED: Step(
            State.SALVAGING, (Effect.STOP_TIMER, Effect.DROP_CHUNKS, Effect.SALVAGE)
        ),
        Event.DRAINING: Step(State.FAREWELL, (Effect.FINISH_STREAM_DRAINING,)),
        Event.SHUT_DOWN: Step(
            State.ABANDONED,
            (Effect.STOP_TIMER, Effect.END_STREAM_FOR_SHUTDOWN, Effect.LET_GO_OF_MAPS),
        ),
    },
    State.SALVAGING: {
        Event.OPENED: Step(State.SALVAGING),
        Event.SALVAGED: Step(State.DRAINING_DEAD, (Effect.END_RUNS, Effect.AWAIT_WRITTEN)),
        Event.DRAINING: Step(State.SALVAGING),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.LET_GO_OF_MAPS,)),
    },
    State.DRAINING_DEAD: {
        Event.OPENED: Step(State.DRAINING_DEAD),
        Event.ALL_WRITTEN: Step(
            State.FORGOTTEN,
            (Effect.REMOVE_LOG, Effect.LET_GO_OF_MAPS, Effect.REMEMBER, Effect.FORGET),
        ),
        Event.DRAINING: Step(State.DRAINING_DEAD),
        Event.SHUT_DOWN: Step(State.ABANDONED, (Effect.LET_GO_OF_MAPS,)),
    },
    # The stream of a session that was closed or abandoned ends a little later.
    State.FORGOTTEN: {
        Event.DETACHED: Step(State.FORGOTTEN),
    },
    State.ABANDONED: {
        Event.DETACHED: Step(State.ABANDONED, (Effect.DROP_CHUNKS,)),
        Event.CLOSED: Step(State.FORGOTTEN, (Effect.FORGET,)),
        # To shut down twice is to shut down once.
        Event.DRAINING: Step(State.ABANDONED),
        Event.SHUT_DOWN: Step(State.ABANDONED),
    },
}

_WITH_STREAM: Final = frozenset(
    {
        State.ATTACHED_BY_VALUE,
        State.ATTACHED_HELD,
        State.ATTACHED_SHARED,
        State.ATTACHED_VERIFYING,
        State.FAREWELL,
    }
)
_HELD: Final = frozenset({State.HELD, State.ATTACHED_HELD, State.ATTACHED_SHARED})
_ENDING: Final = frozenset({State.FAREWELL, State.SALVAGING, State.DRAINING_DEAD})
_ABSENT: Final = _ENDING | {State.LEASED, State.EXPIRING, State.FORGOTTEN, State.ABANDONED}


class Lifecycle:
    """The state of one session's life; begins ``NEW``."""

    def __init__(self) -> None:
        self._state = State.NEW

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self._state

    def fire(self, event: Event) -> tuple[Effect, ...]:
        """Takes ``event``; returns what is to be done, in order.

        Raises ``LifecycleError``, and changes nothing, if ``event`` cannot happen now.
        """
        step = TABLE[self._state].get(event)
        if step is None:
            raise LifecycleError(
                f"{event.name} cannot happen to a session that is {self._state.name}"
            )
        self._state = step.state
        return step.effects
