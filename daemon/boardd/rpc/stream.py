"""One attached stream: records in, acknowledgements out.

Reading stops while a budget is spent; gRPC's flow control then holds the client up. If
the stream reads the ring that the client shares, the messages say how far, and the ring
is read beside them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import grpc.aio
from boardd_protos.shared import Commit

from boardd.core.errors import RequestError, StalledError
from boardd.core.intake.messages import client_messages
from boardd.rpc.teller import Teller
from boardd.runs.writing.turn import Turn
from boardd.sessions.live_session import LiveSession
from boardd.sessions.receiver import Receiver
from boardd.sessions.ring_reader import RingReader

#: How long the end of a stream waits for a client to take what is being written.
WRITE_END_SECS: Final = 1.0


class Stream:
    """Serves one stream of ``live`` until it ends; see the module.

    ``reads_ring`` says that its records come through the ring. The stream ends with
    ``StalledError`` when nothing comes for ``stall_secs`` in the middle of a tensor.
    """

    def __init__(
        self,
        receiver: Receiver,
        live: LiveSession,
        context: grpc.aio.ServicerContext,
        *,
        reads_ring: bool,
        stall_secs: float,
    ) -> None:
        self._receiver = receiver
        self._live = live
        self._context = context
        self._reads_ring = reads_ring
        self._stall_secs = stall_secs
        self._teller = Teller(live, context)
        self._error: Exception | None = None
        #: Set once: nothing more is taken, also of what has come already.
        self._takes_no_more = False
        self._stopped = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._ring_reader: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Returns once the client sends no more and all is told.

        Raises what ends the stream before that, for the client to see.
        """
        self._reader = asyncio.create_task(self._read())
        teller = asyncio.create_task(self._teller.tell())
        stopper = asyncio.create_task(self._stopped.wait())
        tasks: list[asyncio.Task[Any]] = [self._reader, teller, stopper]
        if self._reads_ring and self._live.ring.reading is not None:
            reader = RingReader(self._receiver, self._live)
            self._ring_reader = asyncio.create_task(reader.follow(self._live.ring.reading))
            tasks.append(self._ring_reader)
        waiting = set(tasks)
        done: set[asyncio.Task[Any]] = set()
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
            await self._teller.finish_write(WRITE_END_SECS)
            # A task's error names frames, this one among them, that name the task: without a cut,
            # the session's maps would stay until the garbage is collected.
            self._reader = self._ring_reader = self._error = None
            tasks.clear()
            waiting.clear()
            done.clear()
            del task, teller, stopper

    def end(self, error: Exception) -> None:
        """Ends the stream now and takes nothing more; the client is answered with ``error``."""
        if self._error is None:
            self._error = error
        self._stop_reading()
        self._stopped.set()

    def finish(self, *, draining: bool = False) -> None:
        """Reads no more; the stream ends when everything received is written and told."""
        if draining:
            self._teller.tell_draining()
        self._stop_reading()
        self._teller.end_when_told()

    def commit(self, commit: Commit) -> None:
        """Reads the ring up to there, if it does not do so already."""
        if not self._takes_no_more and self._reads_ring:
            try:
                self._receiver.commit(self._live, commit)
            except RequestError as error:
                self.end(error)

    def _stop_reading(self) -> None:
        """Takes nothing more, also of what has come already."""
        self._takes_no_more = True
        for task in (self._reader, self._ring_reader):
            if task is not None:
                task.cancel()

    async def _read(self) -> None:
        session = self._live.session
        while not self._takes_no_more:
            await self._receiver.room(session)
            try:
                # Half a tensor holds bytes that others may be waiting for.
                timeout_secs = self._stall_secs if session.in_tensor else None
                message = await asyncio.wait_for(self._context.read(), timeout_secs)
            except (TimeoutError, asyncio.TimeoutError):
                raise StalledError(
                    f"nothing came for {timeout_secs} s in the middle of a tensor; send the record "
                    "again from its first chunk"
                ) from None
            # Until Python 3.12, wait_for loses a cancellation that comes with the result.
            if self._takes_no_more:
                return
            if message is grpc.aio.EOF:
                await self._live.notice.wait(lambda: self._is_ring_read)
                self._teller.end_when_told()
                return
            if not isinstance(message, bytes):
                raise RequestError(f"not a message: {type(message).__name__}")
            turn = Turn()
            for piece in client_messages(message):
                await self._receiver.take(self._live, piece, reads_ring=self._reads_ring)
                await turn.pause()

    @property
    def _is_ring_read(self) -> bool:
        ring = self._live.ring.reading
        return self._ring_reader is None or ring is None or not ring.has_more
