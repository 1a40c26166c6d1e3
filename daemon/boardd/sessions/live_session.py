"""An open session and what is attached to it at the moment."""

from __future__ import annotations

import asyncio
from typing import Protocol

from boardd.core.intake.shared_ring import SharedRing
from boardd.core.refusals import Refusal
from boardd.core.session.session import Session
from boardd.sessions.maps import MapBudget, Maps
from boardd.sessions.notice import Notice


class AttachedStream(Protocol):
    """The stream of a session, as far as others may act on it."""

    def end(self, error: Exception) -> None:
        """Ends the stream now; the client is answered with ``error``."""

    def finish(self, *, draining: bool = False) -> None:
        """Reads no more; the stream ends when everything received is written and told."""


class OpenMapConnection(Protocol):
    """The connection over which maps come, as far as others may act on it."""

    def receive(self) -> None:
        """Takes the messages that are there; does not wait for one."""

    def attached(self) -> None:
        """A stream reads the log that came over it."""

    def close(self) -> None:
        """Ends the connection. Idempotent."""


class LiveSession:
    """A session and what is attached to it at the moment."""

    def __init__(self, session: Session, map_budget: MapBudget) -> None:
        self.session = session
        #: What its client shares, over ``map_connection``, which is open while the client lives.
        self.maps = Maps(map_budget)
        self.map_connection: OpenMapConnection | None = None
        #: Finds out whether its client has died, or has only let go of ``map_connection``.
        self.parting: asyncio.Task[None] | None = None
        #: The log in map 0; None where it is not known from where on to read it.
        self.log: SharedRing | None = None
        #: Whether the records of ``stream`` come through ``log``.
        self.is_shared = False
        #: Notified when the client has committed more of ``log``.
        self.committed = Notice()
        #: Whether its client is gone, and what that left is being written.
        self.is_ending = False
        self.stream: AttachedStream | None = None
        #: Notified when records were written, rejected or refused, or the stream changed.
        self.notice = Notice()
        #: Runs whose refusal is still to be told, by the session's number for them.
        self.refusals: dict[int, Refusal] = {}
        self.lease: asyncio.TimerHandle | None = None
        self.is_forgotten = False

    @property
    def is_quiet(self) -> bool:
        """Whether all that was received is written or rejected."""
        return self.session.open_parts == 0

    @property
    def committed_sequence(self) -> int:
        """The last record that the client has handed in: sent, or committed in its log."""
        received = self.session.received_sequence
        return received if self.log is None else max(received, self.log.committed_sequence)

    @property
    def is_caught_up(self) -> bool:
        """Whether all that a client has handed in is written or rejected."""
        is_read = self.committed_sequence == self.session.received_sequence
        return self.is_quiet and is_read and not self.is_ending

    def end_parting(self) -> None:
        """Has nobody find out any more whether the client has died."""
        if self.parting is not None:
            self.parting.cancel()
            self.parting = None

    def let_go(self) -> None:
        """DropPart what the client shares; records that lie there keep their memory."""
        self.end_parting()
        if self.map_connection is not None:
            self.map_connection.close()
            self.map_connection = None
        self.log = None
        self.maps.clear()

    def end_lease(self) -> None:
        """Stops the clock of a session without a stream."""
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None
