"""What a stream tells its client: rejections, refused runs, the end, acknowledgements.

All there is to tell is told in one go: rejections and refusals first, then the one
acknowledgement that covers them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from boardd_protos import boardd_pb2 as pb

from boardd.sessions.live_session import LiveSession


class Teller:
    """Tells the client of ``live`` what is new, over one stream."""

    def __init__(self, live: LiveSession, context: grpc.aio.ServicerContext) -> None:
        self._live = live
        self._context = context
        self._is_draining_due = False
        self._is_last = False
        self._told_sequence = -1
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
        while True:
            await live.notice.wait(lambda: self._has_news or self._is_done)
            # What is rejected up to here was added before; it must be told first.
            written_sequence = session.written_sequence
            for rejection in session.take_rejections():
                await self._write(
                    rejected=pb.Rejected(
                        sequence=rejection.sequence,
                        records=rejection.records,
                        reason=pb.Reason.Name(rejection.reason),
                        message=rejection.message,
                        last_sequence=rejection.last_sequence,
                    )
                )
            while live.refusals:
                run, refusal = live.refusals.popitem()
                await self._write(
                    run_refused=pb.RunRefused(
                        run=run,
                        reason=pb.Reason.Name(refusal.reason),
                        message=refusal.message,
                    )
                )
            if self._is_draining_due:
                self._is_draining_due = False
                await self._write(draining=pb.Draining())
            if written_sequence > self._told_sequence:
                self._told_sequence = written_sequence
                await self._write(acknowledged=pb.Acknowledged(written_sequence=written_sequence))
            if self._is_done:
                return

    async def finish_write(self, timeout_secs: float) -> None:
        """Waits until the client has taken the message that is being written, if any is."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=timeout_secs)

    async def _write(self, **message: Any) -> None:
        # gRPC goes on with a write whose task is cancelled, and then refuses to send a status.
        self._writing = asyncio.ensure_future(self._context.write(pb.DaemonMessage(**message)))
        self._writing.add_done_callback(_look_at)
        await asyncio.shield(self._writing)

    @property
    def _has_news(self) -> bool:
        session = self._live.session
        return (
            session.has_rejections
            or bool(self._live.refusals)
            or self._is_draining_due
            or session.written_sequence > self._told_sequence
        )

    @property
    def _is_done(self) -> bool:
        return self._is_last and self._live.session.is_quiet and not self._has_news


def _look_at(written: asyncio.Future[None]) -> None:
    """Retrieves a failure, the client's end, that nobody else may be left to hear of."""
    if not written.cancelled():
        written.exception()
