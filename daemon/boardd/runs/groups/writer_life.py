"""The life of a group's writer as a table: state and event give the next state.

What is to be done in each state is ``GroupWriter``'s. Whatever ends the journal, a refusal, a
defect or the last rank, the files of the group's points are closed before the writer is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a group's writer is."""

    #: The journal is being opened, and the group restored from it.
    OPENING = auto()
    #: What members log is recorded, and what is decided is shown.
    RECORDING = auto()
    #: Nothing is left to do: the points' files are closed, and then the journal.
    ENDING = auto()
    #: The journal is not open, by a refusal or a defect: what comes is rejected.
    SHUT = auto()
    #: The journal is not open, and nothing comes: the points' files are closed.
    LEAVING = auto()
    #: The writer is no more.
    OVER = auto()


class Event(Enum):
    """What ends a state."""

    #: The journal is open, and the group is restored.
    OPENED = auto()
    #: The journal is not open any more, or cannot be opened.
    REFUSED = auto()
    #: A defect of the daemon; the journal is closed.
    FAILED = auto()
    #: All that was decided is written, and nothing is waited for.
    SETTLED = auto()
    #: Somebody logs, and may be served.
    ASKED = auto()
    #: Nothing is to be rejected any more.
    IDLE = auto()
    #: All files are closed.
    CLOSED = auto()


#: A pair that is missing cannot happen.
TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.OPENING: {
        Event.OPENED: State.RECORDING,
        Event.REFUSED: State.SHUT,
        Event.FAILED: State.SHUT,
    },
    State.RECORDING: {
        Event.SETTLED: State.ENDING,
        Event.REFUSED: State.SHUT,
        Event.FAILED: State.SHUT,
    },
    State.ENDING: {
        Event.ASKED: State.OPENING,
        Event.CLOSED: State.OVER,
        Event.FAILED: State.SHUT,
    },
    State.SHUT: {
        Event.ASKED: State.OPENING,
        Event.IDLE: State.LEAVING,
        Event.FAILED: State.LEAVING,
    },
    State.LEAVING: {
        Event.ASKED: State.OPENING,
        Event.CLOSED: State.OVER,
        Event.FAILED: State.OVER,
    },
    State.OVER: {},
}
