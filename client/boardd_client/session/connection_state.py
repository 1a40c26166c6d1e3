"""When to connect to the daemon, and what to make of a connection that fails or ends.

A state machine without I/O and without a clock. Its caller tells it what has
happened and performs the effects that it returns, in their order. Nothing else
decides about connecting, starting a daemon, or giving a connection up.

==============  ========================================================================
``IDLE``        no record was logged yet
``OPENING``     a connection is being made
``STARTING``    nothing answered on this host; a daemon is being started
``OPEN``        records are sent
``HELD_UP``     open; nothing more is sent before the daemon acknowledges something
``DRAINING``    open; the daemon has said that it leaves, so nothing more is sent to it
``BACKING_OFF`` there is no connection; the next try is a moment away
``REFUSED``     the daemon will not have this client; the next try is some seconds away
``CLOSED``      the process or the session ends
==============  ========================================================================

Each effect belongs to a change of state: entering ``OPENING`` asks to connect,
leaving the open states asks to disconnect, and so on. A connection that could
not be opened needs no ``Disconnect``: who opened it has closed it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

FIRST_BACKOFF_SECS: Final = 0.05
LAST_BACKOFF_SECS: Final = 1.0
REFUSED_BACKOFF_SECS: Final = 5.0
#: Between the end of one start of a daemon and the next start.
START_AGAIN_SECS: Final = 5.0
#: For this long after it was first found that no daemon can be had, one may still be on its way:
#: somebody else may be starting one by hand, or restarting a service.
ON_ITS_WAY_SECS: Final = 2.0
#: The same if one was killed there, which a service manager may restart.
RESTART_SECS: Final = 10.0

#: The code of a connection on which nobody answers.
_UNANSWERED_CODE: Final = "UNAVAILABLE"
#: Codes after which to try again soon is pointless.
REFUSAL_CODES: Final = frozenset(
    {
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    }
)


class State(enum.Enum):
    """See the module."""

    IDLE = enum.auto()
    OPENING = enum.auto()
    STARTING = enum.auto()
    OPEN = enum.auto()
    HELD_UP = enum.auto()
    DRAINING = enum.auto()
    BACKING_OFF = enum.auto()
    REFUSED = enum.auto()
    CLOSED = enum.auto()


class Event(enum.Enum):
    """What can happen. Codes and times are already weighed: see ``ConnectionState``."""

    NEEDED = enum.auto()  # the first record was logged
    RETRY_DUE = enum.auto()
    OPENED = enum.auto()
    UNANSWERED = enum.auto()  # and a daemon may be started
    OPEN_FAILED = enum.auto()
    OPEN_REFUSED = enum.auto()
    DAEMON_STARTED = enum.auto()
    START_FAILED = enum.auto()
    LEAVE_ANNOUNCED = enum.auto()
    ENDED = enum.auto()  # the stream has
    EXPELLED = enum.auto()  # the stream has, with a refusal
    WINDOW_FULL = enum.auto()
    WINDOW_OPEN = enum.auto()
    DEFECT = enum.auto()  # an error that nobody expected
    STOPPED = enum.auto()


#: The states in which there is a connection to disconnect.
CONNECTED: Final = frozenset({State.OPEN, State.HELD_UP, State.DRAINING})

#: What cannot happen in a state is not in its row.
TRANSITIONS: Final = MappingProxyType(
    {
        State.IDLE: {
            Event.NEEDED: State.OPENING,
            Event.DEFECT: State.IDLE,
            Event.STOPPED: State.CLOSED,
        },
        State.OPENING: {
            Event.OPENED: State.OPEN,
            Event.UNANSWERED: State.STARTING,
            Event.OPEN_FAILED: State.BACKING_OFF,
            Event.OPEN_REFUSED: State.REFUSED,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.STARTING: {
            Event.DAEMON_STARTED: State.OPENING,
            Event.START_FAILED: State.BACKING_OFF,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.OPEN: {
            Event.ENDED: State.BACKING_OFF,
            Event.EXPELLED: State.REFUSED,
            Event.LEAVE_ANNOUNCED: State.DRAINING,
            Event.WINDOW_FULL: State.HELD_UP,
            Event.WINDOW_OPEN: State.OPEN,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.HELD_UP: {
            Event.ENDED: State.BACKING_OFF,
            Event.EXPELLED: State.REFUSED,
            Event.LEAVE_ANNOUNCED: State.DRAINING,
            Event.WINDOW_FULL: State.HELD_UP,
            Event.WINDOW_OPEN: State.OPEN,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.DRAINING: {
            Event.LEAVE_ANNOUNCED: State.DRAINING,
            Event.ENDED: State.BACKING_OFF,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.BACKING_OFF: {
            Event.RETRY_DUE: State.OPENING,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.REFUSED: {
            Event.RETRY_DUE: State.OPENING,
            Event.DEFECT: State.BACKING_OFF,
            Event.STOPPED: State.CLOSED,
        },
        State.CLOSED: {
            Event.STOPPED: State.CLOSED,
        },
    }
)


@dataclass(frozen=True)
class Connect:
    """Open a connection; ``opened`` or ``open_failed`` must follow."""


@dataclass(frozen=True)
class StartDaemon:
    """Start a daemon; ``daemon_started`` or ``start_failed`` must follow."""


@dataclass(frozen=True)
class Disconnect:
    """Close the connection, if there is one."""


@dataclass(frozen=True)
class Refuse:
    """Whoever waits for the daemon waits in vain; ``text`` says why."""

    text: str


@dataclass(frozen=True)
class Complain:
    """Warn that the daemon cannot be reached; once an outage."""

    text: str


@dataclass(frozen=True)
class Lack:
    """Warn that no daemon can be had before somebody changes something; once an outage."""

    text: str


@dataclass(frozen=True)
class GiveUp:
    """Whoever waits for a daemon waits in vain, until ``Recover``; it is still looked for."""


@dataclass(frozen=True)
class Recover:
    """Tell that an outage is over that was warned about."""


Effect = Connect | StartDaemon | Disconnect | Refuse | Complain | Lack | GiveUp | Recover


class ImpossibleEventError(Exception):
    """An event cannot happen in the present state: the caller has a defect."""


class ConnectionState:
    """See the module. For one thread; ``state`` and ``trouble`` may be read by any.

    Times (``now``) are in seconds of one monotonic clock. ``jitter`` returns a factor
    from 0.5 to 1 for each backoff, so that many processes do not come back at once.
    """

    def __init__(self, *, may_start_daemon: bool, jitter: Callable[[], float]) -> None:
        """``may_start_daemon``: the daemon is one of this host, to be started if need be."""
        self.state = State.IDLE
        #: What is wrong in this outage, once it was worth a warning; else empty.
        self.trouble = ""
        #: When to try again at the earliest, while backing off or refused.
        self.retry_at = 0.0
        self._jitter = jitter
        self._backoff_secs = FIRST_BACKOFF_SECS  # the next one
        self._opened_at = 0.0
        self._may_start_daemon = may_start_daemon
        self._start_at = 0.0  # no daemon is started earlier
        self._has_been_open = False
        self._is_start_failed = False  # the last one, and there was no daemon since
        #: When to wait for a daemon no longer; None while one may come.
        self._give_up_at: float | None = None
        #: Whether no daemon can be had; there is no use in waiting for one.
        self.is_given_up = False

    def update(self, now: float, *, is_needed: bool) -> list[Effect]:
        """Time has passed. ``is_needed``: something was logged."""
        if self._give_up_at is not None and now >= self._give_up_at and not self.is_given_up:
            self.is_given_up = True
            return [GiveUp()]
        if self.state is State.IDLE and is_needed:
            return self._move(Event.NEEDED)
        if self.state in (State.BACKING_OFF, State.REFUSED) and now >= self.retry_at:
            return self._move(Event.RETRY_DUE)
        return []

    def opened(self, now: float) -> list[Effect]:
        """The connection is open and its stream attached."""
        effects = self._move(Event.OPENED)
        self._opened_at = now
        self._has_been_open = True
        self._is_start_failed = False
        self._hope()
        if self.trouble:
            self.trouble = ""
            effects.append(Recover())
        return effects

    def open_failed(self, code: str, text: str, now: float) -> list[Effect]:
        """No connection could be opened; ``code`` is the name of gRPC's status code."""
        if code == _UNANSWERED_CODE and self._may_start_daemon and now >= self._start_at:
            return self._move(Event.UNANSWERED)
        return self._fail(Event.OPEN_FAILED, Event.OPEN_REFUSED, code, text, now)

    def daemon_started(self, now: float) -> list[Effect]:
        """A daemon accepts connections now."""
        effects = self._move(Event.DAEMON_STARTED)
        self._start_at = now + START_AGAIN_SECS
        self._is_start_failed = False
        self._hope()
        return effects

    def start_failed(
        self, text: str, now: float, *, is_final: bool = False, was_killed: bool = False
    ) -> list[Effect]:
        """No daemon could be started, which is worth a warning at the first time.

        ``is_final``: nor can one be had before somebody changes something. One that this
        client was connected to was started by somebody, and is waited for all the same; one
        that ``was_killed`` is waited for a little longer than one of which nothing is known.
        """
        effects = self._move(Event.START_FAILED)
        self._start_at = now + START_AGAIN_SECS
        self._is_start_failed = True
        self._back_off(now)
        if not is_final or self._has_been_open:
            self._hope()
            return effects + self._complain(text)
        if self._give_up_at is None:
            self._give_up_at = now + (RESTART_SECS if was_killed else ON_ITS_WAY_SECS)
        return effects + self._complain(text, Lack(text))

    def leave_announced(self) -> list[Effect]:
        """The daemon has said that it leaves, maybe for the next one."""
        return self._move(Event.LEAVE_ANNOUNCED)

    def stream_ended(self, code: str, text: str, now: float) -> list[Effect]:
        """The stream has ended, for whatever reason."""
        # One that ends as soon as it is made is no better than none.
        if now - self._opened_at > LAST_BACKOFF_SECS:
            self._backoff_secs = FIRST_BACKOFF_SECS
        if self.state is State.DRAINING:
            effects = self._move(Event.ENDED)
            self.retry_at = now + FIRST_BACKOFF_SECS  # the next daemon may be there at once
            return effects
        return self._fail(Event.ENDED, Event.EXPELLED, code, text, now)

    def window(self, *, is_full: bool) -> list[Effect]:
        """What there is was sent, up to a window that ``is_full`` or not."""
        return self._move(Event.WINDOW_FULL if is_full else Event.WINDOW_OPEN)

    def defect(self, now: float) -> list[Effect]:
        """Something raised that should not; begin again, but not at once."""
        was_starting = self.state is State.STARTING
        self._move(Event.DEFECT)
        self.retry_at = now + LAST_BACKOFF_SECS
        if was_starting:
            self._start_at = now + START_AGAIN_SECS
        return [Disconnect()]  # in any state: an effect may have been left half done

    def stop(self) -> list[Effect]:
        """Nothing more is sent."""
        return self._move(Event.STOPPED)

    def _fail(
        self, failed: Event, refused: Event, code: str, text: str, now: float
    ) -> list[Effect]:
        if code in REFUSAL_CODES:
            effects = self._move(refused)
            self.retry_at = now + REFUSED_BACKOFF_SECS * self._jitter()
            return [*effects, Refuse(text), *self._complain(text)]
        effects = self._move(failed)
        # That a stream ended, at a restart say, is news only if the next tries fail too.
        is_news = self._back_off(now) > 2 * FIRST_BACKOFF_SECS
        if self._is_start_failed and code == _UNANSWERED_CODE:
            is_news = False  # that nobody answers is no more than a consequence
        return effects + self._complain(text) if is_news else effects

    def _back_off(self, now: float) -> float:
        backoff_secs = self._backoff_secs
        self._backoff_secs = min(2 * backoff_secs, LAST_BACKOFF_SECS)
        self.retry_at = now + backoff_secs * self._jitter()
        return backoff_secs

    def _hope(self) -> None:
        """A daemon may come."""
        self._give_up_at, self.is_given_up = None, False

    def _complain(self, text: str, effect: Effect | None = None) -> list[Effect]:
        is_known, self.trouble = bool(self.trouble), text
        return [] if is_known else [effect or Complain(text)]

    def _move(self, event: Event) -> list[Effect]:
        before = self.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise ImpossibleEventError(f"{event.name} cannot happen while {before.name}")
        self.state = after
        if before in CONNECTED and after not in CONNECTED:
            return [Disconnect()]
        if after is State.OPENING:
            return [Connect()]
        if after is State.STARTING:
            return [StartDaemon()]
        return []
