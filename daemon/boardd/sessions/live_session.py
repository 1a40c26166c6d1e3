"""A session that is open, and what the daemon holds for it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from boardd_protos.shared import Commit

from boardd.core.session.lifecycle import Lifecycle, State
from boardd.core.session.session import Session
from boardd.core.session.session_ring import SessionRing
from boardd.runs.writing.turn import Turn
from boardd.sessions.maps import MapBudget, Maps
from boardd.sessions.notice import Notice
from boardd.sessions.peer_process import PeerProcess

#: How often a map connection is looked at for more at a time: a client that shares all the maps
#: it may has sent far less, and one that never ends must not hold up a call.
_MAX_RECEIVED: Final = 64


class AttachedStream(Protocol):
    """The stream of a session, as far as its life matters to it."""

    def end(self, error: Exception) -> None:
        """Ends the stream now; the client is answered with ``error``."""

    def finish(self, *, draining: bool = False) -> None:
        """Reads no more; the stream ends when everything received is written and told."""

    def commit(self, commit: Commit) -> None:
        """Reads the ring up to there, if it does not do so already."""


class OpenMapConnection(Protocol):
    """The connection over which maps come, as far as a session acts on it."""

    @property
    def peer_pid(self) -> int:
        """The number of the process at its other end; 0 if it is not visible from here."""

    def receive(self) -> bool:
        """Takes messages that are there, up to a bound; returns whether there may be more.

        Does not wait for one.
        """

    def rely_on(self) -> None:
        """Takes the end of this for the end of the client, from now on."""

    def close(self) -> None:
        """Ends the connection. Idempotent."""


class LiveSession:
    """A session and what the daemon holds for it at the moment.

    ``life`` alone says what state it is in; the rest is what that state needs.
    """

    def __init__(
        self, session: Session, number: int, map_budget: MapBudget, max_frame_bytes: int
    ) -> None:
        self.session = session
        #: Names it to people; its id is a secret of its client's.
        self.number = number
        self.life = Lifecycle()
        #: Notified when records were written, rejected or refused, or something happened to it.
        self.notice = Notice()
        self.stream: AttachedStream | None = None
        #: What its client shares, over ``map_connection``, which is open while the client lives.
        self.maps = Maps(map_budget)
        self.map_connection: OpenMapConnection | None = None
        #: How far the ring of its log is read.
        self.ring = SessionRing(max_frame_bytes)
        #: Notified when the client has committed more of the ring.
        self.committed = Notice()
        #: The lease, or the farewell of a dead client's stream.
        self.timer: asyncio.TimerHandle | None = None
        #: The process that was at the other end of ``map_connection``, and who watches it.
        self.process: PeerProcess | None = None
        self.watching: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self.life.state

    @property
    def is_forgotten(self) -> bool:
        """Whether the session is over."""
        return self.life.state is State.FORGOTTEN

    @property
    def committed_sequence(self) -> int:
        """The last record that the client has handed in: sent, or committed in its ring."""
        return self.ring.committed_sequence(self.session.received_sequence)

    @property
    def is_caught_up(self) -> bool:
        """Whether all that a client has handed in is written or rejected."""
        is_read = self.committed_sequence == self.session.received_sequence
        return self.session.is_quiet and is_read and not self.state.is_ending

    async def receive_all(self) -> None:
        """Takes what its client has sent over its map connection by now, in turns."""
        turn = Turn()
        for _ in range(_MAX_RECEIVED):
            if self.map_connection is None or not self.map_connection.receive():
                return
            await turn.pause()

    def stop_timer(self) -> None:
        """Stops the lease or the farewell, whichever runs."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def stop_watching(self) -> None:
        """Finds out no more whether the client has died."""
        if self.watching is not None:
            self.watching.cancel()
            self.watching = None

    def let_go_of_maps(self) -> None:
        """Drops what the client shares; records that lie there keep their memory."""
        if self.map_connection is not None:
            self.map_connection.close()
            self.map_connection = None
        self.ring.let_go()
        self.maps.clear()
