"""Performs the effects of ``core.session.lifecycle`` with timers, tasks and sockets.

What takes time comes back as an event: a lease that ends, a process that is found dead,
a ring that is read to its end, the last part that is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Final

from boardd_protos.printable import counted

from boardd.core.errors import DrainingError, ProtocolError, SupersededError
from boardd.core.session.lifecycle import Effect, Event, State
from boardd.runs.run_table import RunTable
from boardd.sessions.live_session import LiveSession
from boardd.sessions.peer_process import PeerProcess
from boardd.sessions.receiver import Receiver
from boardd.sessions.registry import Registry
from boardd.sessions.ring_reader import RingReader

_logger = logging.getLogger(__name__)

#: How long the stream of a dead client may last; its last messages are in it.
FAREWELL_SECS: Final = 1.0
#: How long a process may outlive its map connection and still count as ending.
VERIFY_SECS: Final = 1.0

#: What a client is told when its stream is ended.
_STREAM_ENDS: Final[dict[Effect, tuple[type[ProtocolError], str]]] = {
    Effect.END_STREAM_FOR_NEWER: (
        SupersededError,
        "a newer stream was attached to this session",
    ),
    Effect.END_STREAM_FOR_NEW_RING: (SupersededError, "the ring was handed over anew"),
    Effect.END_STREAM_OF_DEAD: (SupersededError, "the client has let go of its shared ring"),
    Effect.END_STREAM_FOR_SHUTDOWN: (DrainingError, "the daemon has shut down"),
}


class Effects:
    """Performs effects; what comes of them later goes to ``fire``."""

    def __init__(
        self,
        registry: Registry,
        receiver: Receiver,
        run_table: RunTable,
        fire: Callable[[LiveSession, Event], None],
    ) -> None:
        self._registry = registry
        self._receiver = receiver
        self._run_table = run_table
        self._fire = fire
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, live: LiveSession, effect: Effect) -> None:
        """Performs one effect on ``live``."""
        match effect:
            case Effect.START_LEASE:
                self._start_timer(live, self._registry.budgets.lease_secs, self._lease_ended)
            case Effect.START_FAREWELL:
                self._start_timer(live, FAREWELL_SECS, self._farewell_over)
            case Effect.STOP_TIMER:
                live.stop_timer()
            case Effect.WATCH_PROCESS:
                self._watch_process(live)
            case Effect.STOP_WATCHING:
                live.stop_watching()
            case Effect.RELY_ON_CONNECTION:
                if live.map_connection is not None:
                    live.map_connection.rely_on()
            case Effect.FINISH_STREAM | Effect.FINISH_STREAM_DRAINING:
                if live.stream is not None:
                    live.stream.finish(draining=effect is Effect.FINISH_STREAM_DRAINING)
            case Effect.DROP_CHUNKS:
                live.session.detach()
            case Effect.LET_GO_OF_MAPS:
                live.let_go_of_maps()
            case Effect.REMOVE_LOG:
                self._remove_log(live)
            case Effect.SALVAGE:
                self._begin(self._salvage(live))
            case Effect.END_RUNS:
                self._end_runs(live)
            case Effect.AWAIT_WRITTEN:
                self._begin(self._await_written(live, live.state))
            case Effect.REMEMBER:
                self._registry.remember(live.session)
            case Effect.FORGET:
                self._registry.forget(live)
            case _:
                kind, message = _STREAM_ENDS[effect]
                if live.stream is not None:
                    live.stream.end(kind(message))

    def cancel(self) -> None:
        """Waits for nothing any more."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, waiting: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Waiting

    def _start_timer(
        self, live: LiveSession, secs: float, over: Callable[[LiveSession], None]
    ) -> None:
        live.stop_timer()
        live.timer = asyncio.get_running_loop().call_later(secs, over, live)

    def _lease_ended(self, live: LiveSession) -> None:
        live.timer = None
        _logger.warning(
            "session of %s had no stream for %g s and is ended",
            who(live),
            self._registry.budgets.lease_secs,
        )
        self._fire(live, Event.LEASE_ENDED)

    def _farewell_over(self, live: LiveSession) -> None:
        live.timer = None
        self._fire(live, Event.FAREWELL_OVER)

    def _watch_process(self, live: LiveSession) -> None:
        process, live.process = live.process, None
        if process is None:
            raise AssertionError("there is no process to watch")
        live.watching = self._begin(self._verify(live, process))
        # The task may be cancelled before it begins.
        live.watching.add_done_callback(lambda _: process.close())

    async def _verify(self, live: LiveSession, process: PeerProcess) -> None:
        has_ended = await process.has_ended(VERIFY_SECS)
        if live.watching is not asyncio.current_task():
            return  # until Python 3.12, wait_for loses a cancellation that comes with the result
        live.watching = None
        self._fire(live, Event.PROCESS_ENDED if has_ended else Event.PROCESS_RUNS)

    async def _await_written(self, live: LiveSession, state: State) -> None:
        await live.notice.wait(lambda: live.state is not state or live.session.is_quiet)
        if live.state is state:
            self._fire(live, Event.ALL_WRITTEN)

    # What a client that is gone leaves behind

    async def _salvage(self, live: LiveSession) -> None:
        salvage = await RingReader(self._receiver, live).finish()
        # Without a map it was adopted, and a log with nothing in it is no news.
        if salvage.records or live.maps.views:
            _logger.warning(
                "%s ended without closing its session: %d records beyond what it had committed "
                "were found in its ring, %d of them without their values",
                who(live),
                salvage.records,
                salvage.lost,
            )
        if live.state is State.SALVAGING:
            self._fire(live, Event.SALVAGED)

    def _remove_log(self, live: LiveSession) -> None:
        for rejection in live.session.remembered().rejections.all:
            _logger.warning(
                "%s: lost %s: %s",
                who(live),
                counted(rejection.records, "record"),
                rejection.message,
            )
        if live.maps.log is not None:
            with contextlib.suppress(ProtocolError):
                if live.ring.has_remains:
                    return  # it was not dead when the ring was read: the log is adopted later
            live.maps.log.remove()

    def _end_runs(self, live: LiveSession) -> None:
        try:
            self._run_table.admit(live.session.end().parts)
        except Exception:  # a defect, and the session must end all the same
            _logger.exception("the runs of pid %d cannot be ended", live.session.client.pid)


def who(live: LiveSession) -> str:
    """The client of ``live``, for people."""
    session = live.session
    return (
        f"{session.client.program or 'a program'} (pid {session.client.pid} on "
        f"{session.client.hostname or 'an unknown host'})"
    )
