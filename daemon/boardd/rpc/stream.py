"""One attached stream: records in, acknowledgements out.

Reading stops while a budget is spent; gRPC's flow control then holds the client
up. Where the client shares its log, that is read beside the messages, which say
how far. What there is to tell is told in one go: rejections and refusals first, then
the one acknowledgement that covers them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import grpc.aio
from boardd_protos import boardd_pb2 as pb

from boardd.core.errors import RequestError, StalledError
from boardd.sessions.live_session import LiveSession
from boardd.sessions.ring_reader import RingReader
from boardd.sessions.sessions import Sessions

#: How long the end of a stream waits for a client to take what is being written.
WRITE_END_SECS: Final = 1.0


def _look_at(written: asyncio.Future[None]) -> None:
    """Nobody else may be left to hear of a failure, which is the client's end."""
    if not written.cancelled():
        written.exception()


class Stream:
    """Serves one stream of ``live`` until it ends; see the module."""

    def __init__(
        self,
        sessions: Sessions,
        live: LiveSession,
        context: grpc.aio.ServicerContext,
    ) -> None:
        self._sessions = sessions
        self._live = live
        self._context = context
        self._error: Exception | None = None
        self._stopped = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._log_reader: asyncio.Task[None] | None = None
        self._is_reading = True
        self._tells_draining = False
        self._told_sequence = -1
        self._writing: asyncio.Future[None] | None = None

    async def serve(self) -> None:
        """Returns once the client sends no more and all is told.

        Raises what ends the stream before that, for the client to see.
        """
        self._reader = asyncio.create_task(self._read())
        teller = asyncio.create_task(self._tell())
        stopper = asyncio.create_task(self._stopped.wait())
        tasks: list[asyncio.Task[Any]] = [self._reader, teller, stopper]
        if self._live.is_shared and self._live.log is not None:
            reader = RingReader(self._sessions, self._live)
            self._log_reader = asyncio.create_task(reader.follow(self._live.log))
            tasks.append(self._log_reader)
        waiting = set(tasks)
        try:
            while not teller.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if self._error is not None:
                    raise self._error
                for task in done:
                    if not task.cancelled():
                        task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._writing is not None:
                await asyncio.wait({self._writing}, timeout=WRITE_END_SECS)
            # A task's error names frames that name this stream: without a cut, the session's maps
            # would stay until the garbage is collected.
            self._reader = self._log_reader = None
            tasks.clear()

    def end(self, error: Exception) -> None:
        """Ends the stream now; the client is answered with ``error``."""
        if self._error is None:
            self._error = error
        self._stopped.set()

    def finish(self, *, draining: bool = False) -> None:
        """Reads no more; the stream ends when everything received is written and told."""
        self._tells_draining = self._tells_draining or draining
        self._is_reading = False
        for task in (self._reader, self._log_reader):
            if task is not None:
                task.cancel()
        self._live.notice.notify()

    async def _read(self) -> None:
        session = self._live.session
        while True:
            await self._sessions.room(session)
            try:
                # Half a tensor holds bytes that others may be waiting for.
                stall_secs = self._sessions.budgets.stall_secs if session.in_tensor else None
                message = await asyncio.wait_for(self._context.read(), stall_secs)
            except (TimeoutError, asyncio.TimeoutError):
                raise StalledError(
                    f"nothing came for {stall_secs} s in the middle of a tensor; send the record "
                    "again from its first chunk"
                ) from None
            if message is grpc.aio.EOF:
                await self._live.notice.wait(lambda: self._is_log_read)
                self._is_reading = False
                self._live.notice.notify()
                return
            if not isinstance(message, pb.ClientMessage):
                raise RequestError(f"not a ClientMessage: {type(message).__name__}")
            await self._sessions.take(self._live, message)

    async def _tell(self) -> None:
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
            if self._tells_draining:
                self._tells_draining = False
                await self._write(draining=pb.Draining())
            if written_sequence > self._told_sequence:
                self._told_sequence = written_sequence
                await self._write(acknowledged=pb.Acknowledged(written_sequence=written_sequence))
            if self._is_done:
                return

    async def _write(self, **message: Any) -> None:
        # gRPC goes on with a write whose task is cancelled, and then refuses to send a status.
        self._writing = asyncio.ensure_future(self._context.write(pb.DaemonMessage(**message)))
        self._writing.add_done_callback(_look_at)
        await asyncio.shield(self._writing)

    @property
    def _is_log_read(self) -> bool:
        log = self._live.log
        return self._log_reader is None or log is None or not log.has_more

    @property
    def _has_news(self) -> bool:
        session = self._live.session
        return (
            session.has_rejections
            or bool(self._live.refusals)
            or self._tells_draining
            or session.written_sequence > self._told_sequence
        )

    @property
    def _is_done(self) -> bool:
        return not self._is_reading and self._live.is_quiet and not self._has_news
