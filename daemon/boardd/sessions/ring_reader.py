"""Reads a session's shared log on the event loop: while its client lives, and after.

Each turn waits for the budgets, copies a stretch of frames, takes the definitions
in it, and then its records. A turn that is cancelled has taken nothing.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError
from google.protobuf.message import DecodeError

from boardd.core.errors import ProtocolError, RequestError
from boardd.core.intake.frames import WalkedFrames
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.core.session.session import Session
from boardd.sessions.live_session import LiveSession

_logger = logging.getLogger(__name__)

#: Taken in one turn, about: what the event loop is busy with at a time.
CHUNK_BYTES: Final = 1 << 20


class Recipient(Protocol):
    """Where the frames go."""

    async def room(self, session: Session) -> None:
        """Waits until budgets allow reading on."""

    async def define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        """Takes definitions. Raises ``RequestError`` or ``CapacityError``."""

    def receive(self, live: LiveSession, frames: Sequence[WalkedFrames]) -> None:
        """Takes the frames that come next."""


class Salvage(NamedTuple):
    """What was found behind the last commit of a dead client."""

    records: int
    #: Of these, how many were still being captured.
    lost: int


class RingReader:
    """Reads the log of ``live``; one task at a time."""

    def __init__(self, recipient: Recipient, live: LiveSession) -> None:
        self._recipient = recipient
        self._live = live

    async def follow(self, log: SharedRing) -> None:
        """Reads what the client commits, until it is cancelled.

        Raises ``FrameError``, ``RequestError`` or ``CapacityError`` where the log, or
        what is defined in it, is no good.
        """
        while True:
            await self._live.committed.wait(lambda: log.has_more)
            await self._turn(log, log.read)
            if not log.has_more:
                self._live.notice.notify()

    async def finish(self) -> Salvage:
        """Reads all that the client left, now that it is gone."""
        counters = self._live.session.counters
        log, lost, accepted = self._live.log, 0, None
        if log is None:
            return Salvage(0, 0)
        try:
            while log.has_more and not self._live.is_forgotten:
                await self._turn(log, log.read)
            accepted = counters.accepted
            while not self._live.is_forgotten:
                chunk = await self._turn(log, log.salvage)
                if chunk is None:
                    break
                lost += chunk.lost
        except (FrameError, ProtocolError) as error:
            # As text, here and below: the error's traceback names the log.
            pid, why = self._live.session.pid, str(error)
            _logger.error("the log of pid %d cannot be read on: %s", pid, why)
        except Exception:  # a defect, and the session must end all the same
            pid, why = self._live.session.pid, traceback.format_exc()
            _logger.error("the log of pid %d cannot be read on: %s", pid, why)
        return Salvage(0 if accepted is None else counters.accepted - accepted, lost)

    async def _turn(self, log: SharedRing, read: Callable[[int], RingFrames]) -> RingFrames | None:
        """Takes what comes next; returns it, or None where nothing does."""
        live = self._live
        await self._recipient.room(live.session)
        if live.is_forgotten:
            return None
        if live.map_connection is not None:
            # A client shares a map before it commits what lies in it.
            live.map_connection.receive()
        chunk = read(CHUNK_BYTES)
        if chunk.position == log.position:
            return None
        if chunk.definitions:
            await self._recipient.define(live, _parsed(chunk.definitions))
            if live.is_forgotten:
                return None
        if chunk.frames:
            self._recipient.receive(live, chunk.frames)
        log.advance(chunk)
        await asyncio.sleep(0)  # others' turn
        return chunk


def _parsed(payloads: list[bytes]) -> pb.Definitions:
    definitions = pb.Definitions()
    for payload in payloads:
        try:
            definitions.MergeFromString(payload)
        except DecodeError as error:
            raise RequestError(f"definitions in the shared log: {error}") from None
    return definitions
