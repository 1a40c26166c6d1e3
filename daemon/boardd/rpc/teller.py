"""Tells a client over a stream what ``core.session.telling`` has for it, and the end.

A message costs more than the records of a step that it acknowledges. So while some of what
came is still to be written, the news waits for it a moment, unless it is of many records or
of large ones, whose room a client may wait for.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc.aio
from boardd_protos import boardd_pb2 as pb

from boardd.sessions.live_session import LiveSession

#: How long news waits for what is still to be written.
GATHER_SECS: Final = 0.05
MANY_RECORDS: Final = 2048
#: The least memory that a client has for tensors.
MANY_BYTES: Final = 1 << 20


class Teller:
    """Tells the client of ``live`` what is new, over one stream."""

    def __init__(self, live: LiveSession, context: grpc.aio.ServicerContext) -> None:
        self._live = live
        self._context = context
        self._is_draining_due = False
        self._is_last = False
        self._writing: asyncio.Future[None] | None = None

    def tell_draining(self) -> None:
        """Tells the client, next, that the daemon is shutting down."""
        self._is_draining_due = True
        self._live.notice.notify()

    def end_when_told(self) -> None:
        """Lets ``tell`` return once all that was received is written and told."""
        self._is_last = True
        self._live.notice.notify()

    async def tell(self) -> None:
        """Tells what is new until ``end_when_told``."""
        live, session = self._live, self._live.session
        session.telling.begin()
        while True:
            await live.notice.wait(lambda: self._has_news or self._is_done)
            if not self._is_complete:
                await self._gather()
            for message in session.telling.take():
                await self._write(message)
            if self._is_draining_due:
                self._is_draining_due = False
                await self._write(pb.DaemonMessage(draining=pb.Draining()))
            if self._is_done:
                return

    async def _gather(self) -> None:
        """Waits until the news is complete, for ``GATHER_SECS`` at most."""
        loop, notice = asyncio.get_running_loop(), self._live.notice
        until = loop.time() + GATHER_SECS
        timer = loop.call_at(until, notice.notify)
        try:
            await notice.wait(lambda: self._is_complete or loop.time() >= until)
        finally:
            timer.cancel()

    async def finish_write(self, timeout_secs: float) -> None:
        """Waits until the client has taken the message that is being written, if any is."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=timeout_secs)
            self._writing = None  # its error names frames that name this

    async def _write(self, message: pb.DaemonMessage) -> None:
        # gRPC goes on with a write whose task is cancelled, and then refuses to send a status.
        self._writing = asyncio.ensure_future(self._context.write(message))
        self._writing.add_done_callback(_look_at)
        await asyncio.shield(self._writing)

    @property
    def _has_news(self) -> bool:
        return self._is_draining_due or self._live.session.telling.has_news

    @property
    def _is_complete(self) -> bool:
        """Whether nothing is out that would soon be news, too, or the news cannot wait."""
        session = self._live.session
        return (
            session.is_quiet
            or session.telling.untold_records >= MANY_RECORDS
            or session.telling.untold_bytes >= MANY_BYTES
            or self._is_draining_due
            or self._is_last
        )

    @property
    def _is_done(self) -> bool:
        return self._is_last and self._live.session.is_quiet and not self._has_news


def _look_at(written: asyncio.Future[None]) -> None:
    """Retrieves a failure, the client's end, that nobody else may be left to hear of."""
    if not written.cancelled():
        written.exception()
