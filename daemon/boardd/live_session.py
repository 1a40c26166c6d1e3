"""An open session and what is attached to it at the moment."""

from __future__ import annotations

import asyncio
from typing import Protocol

from boardd.core.runs import Refusal
from boardd.core.session import Session
from boardd.notice import Notice


class AttachedStream(Protocol):
    """The stream of a session, as far as others may act on it."""

    def end(self, error: Exception) -> None:
        """Ends the stream now; the client is answered with ``error``."""

    def finish(self, *, draining: bool = False) -> None:
        """Reads no more; the stream ends when everything received is written and told."""


class LiveSession:
    """A session and what is attached to it at the moment."""

    def __init__(self, session: Session) -> None:
        self.session = session
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

    def end_lease(self) -> None:
        """Stops the clock of a session without a stream."""
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None
