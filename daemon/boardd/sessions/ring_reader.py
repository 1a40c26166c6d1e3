"""Reads a session's ring on the event loop: while its client lives, and after.

Each turn waits for the budgets, copies the frames that come next and takes their records;
of a dead client, it takes what its log has of definitions in between, as some of them may
never have been sent. A turn that is cancelled has taken nothing.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError

from boardd.core.errors import ProtocolError, RequestError
from boardd.core.intake.messages import pieces
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.runs.writing.turn import Turn
from boardd.sessions.client_log import ClientLog
from boardd.sessions.live_session import LiveSession
from boardd.sessions.receiver import Receiver

_logger = logging.getLogger(__name__)

#: Taken in one turn, about: what the event loop is busy with at a time.
TURN_BYTES: Final = 1 << 20
#: Of parked frames, which are copied one by one.
_PARKED_TURN_BYTES: Final = 6 << 10
#: Of one definition; a longer one is passed over.
MAX_DEFINITION_BYTES: Final = 1 << 20
#: Definitions that are looked up together, about, since each look takes a thread's time.
_DEFINED_TOGETHER: Final = 256


class Salvage(NamedTuple):
    """What was found behind the last commit of a dead client."""

    records: int
    #: Of these, how many were still being captured.
    lost: int


class RingReader:
    """Reads the ring of ``live``; one task at a time."""

    def __init__(self, receiver: Receiver, live: LiveSession) -> None:
        self._receiver = receiver
        self._live = live
        self._defined_bytes = 0  # of the log's definitions
        self._gathered: list[pb.Definitions] = []
        self._gathered_count = 0

    async def follow(self, ring: SharedRing) -> None:
        """Reads what the client commits, until it is cancelled.

        Raises ``FrameError`` or ``RequestError`` if the ring is no good.
        """
        while True:
            await self._live.committed.wait(lambda: ring.has_more)
            await self._turn(ring, ring.read, defines=False)
            if not ring.has_more:
                self._live.notice.notify()

    async def finish(self) -> Salvage:
        """Reads all that the client left, now that it is gone."""
        session, log = self._live.session, self._live.maps.log
        counters, lost, accepted = session.counters, 0, None
        if log is None:
            return Salvage(0, 0)
        try:
            await self._take_parked(log)
            ring = self._live.ring.salvage(log, log.words(), session.received_sequence)
            while ring.has_more and not self._live.state.is_over:
                await self._turn(ring, ring.read, defines=True)
            accepted = counters.accepted
            while not self._live.state.is_over:
                taken = await self._turn(ring, ring.salvage, defines=True)
                if taken is None:
                    break
                lost += taken.lost
        except (FrameError, ProtocolError) as error:
            # As text, here and below: the error's traceback names the ring.
            pid, why = self._live.session.client.pid, str(error)
            _logger.error("the ring of pid %d cannot be read on: %s", pid, why)
        except Exception:  # a defect, and the session must end all the same
            pid, why = self._live.session.client.pid, traceback.format_exc()
            _logger.error("the ring of pid %d cannot be read on: %s", pid, why)
        return Salvage(0 if accepted is None else counters.accepted - accepted, lost)

    async def _take_parked(self, log: ClientLog) -> None:
        """Takes what the client has moved out of its ring, and not handed in yet."""
        live, session, words = self._live, self._live.session, log.words()
        if session.received_sequence >= words.freed_sequence:
            return
        # Read once more: what left the ring by then is parked by now.
        words = log.words()._replace(freed_sequence=words.freed_sequence)
        parked = live.ring.parked(log.read_parked, log.size_bytes, words, session.received_sequence)
        while not live.state.is_over and parked.look(TURN_BYTES):
            await asyncio.sleep(0)  # others' turn
        while not live.state.is_over:
            await self._receiver.room(session)
            if live.state.is_over:
                return
            frames = parked.take(_PARKED_TURN_BYTES)
            await self._define()
            if live.state.is_over:
                return
            if not frames:
                self._receiver.receive_parked(live, b"", words.freed_sequence)
                return
            self._receiver.receive_parked(live, frames)
            await asyncio.sleep(0)  # others' turn

    async def _turn(
        self, ring: SharedRing, read: Callable[[int], RingFrames], *, defines: bool
    ) -> RingFrames | None:
        """Takes what comes next; returns it, or None if nothing does."""
        live = self._live
        await self._receiver.room(live.session)
        if live.state.is_over:
            return None
        taken = read(TURN_BYTES)
        if taken.position == ring.position:
            return None
        if defines:  # those of the frames that were copied are there by now
            await self._define()
            if live.state.is_over:
                return None
        if taken.frames:
            self._receiver.receive(live, taken.frames)
        ring.advance(taken)
        await asyncio.sleep(0)  # others' turn
        return taken

    async def _define(self) -> None:
        """Takes the definitions that the log has and that were not read yet."""
        live, log, turn = self._live, self._live.maps.log, Turn()
        while log is not None and not live.state.is_over:
            entries, end = log.definitions(self._defined_bytes, MAX_DEFINITION_BYTES)
            if end == self._defined_bytes:
                return
            broken = 0
            for entry in entries:
                try:
                    for piece in pieces(pb.Definitions, entry):
                        broken += await self._gather(piece, turn)
                except RequestError:
                    broken += 1
            broken += await self._define_gathered(turn)
            self._defined_bytes = end
            if broken:
                _logger.error(
                    "%d definitions of pid %d are broken", broken, live.session.client.pid
                )
            await asyncio.sleep(0)  # others' turn

    async def _gather(self, piece: pb.Definitions, turn: Turn) -> int:
        """Adds ``piece`` to those that are defined together; returns how many were broken."""
        self._gathered.append(piece)
        self._gathered_count += 1 + len(piece.runs) + len(piece.series)
        if self._gathered_count >= _DEFINED_TOGETHER:
            return await self._define_gathered(turn)
        await turn.pause()
        return 0

    async def _define_gathered(self, turn: Turn) -> int:
        """Takes what was gathered; returns how many pieces of it are broken."""
        gathered, self._gathered, self._gathered_count = self._gathered, [], 0
        together, broken = pb.Definitions(), 0
        for piece in gathered:
            together.MergeFrom(piece)
        try:
            await self._receiver.define(self._live, together)
        except ProtocolError:  # one of them; the others are good
            for piece in gathered:
                try:
                    await self._receiver.define(self._live, piece)
                except ProtocolError:
                    broken += 1
                await turn.pause()
        await turn.pause()
        return broken
