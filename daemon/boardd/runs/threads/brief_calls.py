"""Brief calls on an executor's threads, many for one waking of a thread and one of the loop.

Going to another thread and back takes longer than appending a few events, and two
threads that want the interpreter slow each other down. So one thread makes all calls
that wait, one after the other, and their results go back to the event loop together.
If a call hangs, another thread soon goes on with the rest. Threads whose call has lasted
for a second are given up for the others: so many more may work. Owners take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, Final, Generic, NamedTuple, TypeVar

from boardd.core.turns import Turns
from boardd.runs.threads.writer_threads import HANGING_SECS, MAX_HANGING

#: Seconds that a result waits for others that go back with it. If a call takes longer,
#: another thread goes on with the rest.
_LOOK_SECS: Final = 0.005

_Result = TypeVar("_Result")
_Threads_co = TypeVar("_Threads_co", bound=Executor, covariant=True)


class _Call(NamedTuple):
    """A call of ``owner``'s that waits; ``result`` gets what comes of it."""

    owner: Hashable
    result: asyncio.Future[Any]
    call: Callable[[], Any]


class BriefCalls(Generic[_Threads_co]):
    """Calls on at most ``max_threads`` of ``threads``, besides those that hang; see the module.

    Made, used and closed on the event loop's thread.
    """

    def __init__(self, threads: _Threads_co, max_threads: int) -> None:
        self.threads = threads
        self._max_threads = max_threads
        self._is_closed = False
        self._start: asyncio.Handle | None = None
        self._look: asyncio.TimerHandle | None = None
        #: How many calls were begun by the last look.
        self._seen = 0
        #: Guards all below.
        self._lock = threading.Lock()
        self._waiting: Turns[_Call] = Turns()
        self._begun = 0
        #: Threads at work, and since when each makes its call.
        self._working: dict[object, float] = {}
        self._done: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []

    async def run(self, call: Callable[[], _Result], owner: Hashable = None) -> _Result:
        """Returns what ``call``, one of ``owner``'s, returns on a thread, or raises what it raises.

        Raises ``RuntimeError`` once closed.
        """
        if self._is_closed:
            raise RuntimeError("a call after close")
        loop = asyncio.get_running_loop()
        result: asyncio.Future[_Result] = loop.create_future()
        with self._lock:
            self._waiting.add(owner, _Call(owner, result, call))
        if self._start is None:
            # Calls that other tasks ask for in this turn of the loop go with it.
            self._start = loop.call_soon(self._begin, loop)
        return await result

    @property
    def waiting(self) -> int:
        """Calls that no thread has begun."""
        with self._lock:
            return len(self._waiting)

    def close(self) -> None:
        """Begins no more calls; those that wait never return."""
        self._is_closed = True
        if self._start is not None:
            self._start.cancel()
        if self._look is not None:
            self._look.cancel()
        with self._lock:
            self._waiting.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._start = None
        if not self._active():
            self._send(loop)
        if self._look is None:
            self._look_later(loop)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        worker = object()
        with self._lock:
            self._working[worker] = time.monotonic()
        self.threads.submit(self._work, worker, loop)

    def _active(self) -> int:
        """How many threads work and do not hang; ``max_threads`` if there can be no more."""
        latest = time.monotonic() - HANGING_SECS
        with self._lock:
            hanging = sum(since <= latest for since in self._working.values())
            active = len(self._working) - hanging
        return active if hanging < MAX_HANGING else self._max_threads

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._seen = self._begun
        self._look = loop.call_later(_LOOK_SECS, self._help, loop)

    def _help(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look = None
        # Before the results are taken: one that is not there yet may have left to another look.
        is_more = bool(self._waiting)
        self._take_back()
        if not is_more:
            return
        if self._begun == self._seen and self._active() < self._max_threads:
            self._send(loop)
        self._look_later(loop)

    def _work(self, worker: object, loop: asyncio.AbstractEventLoop) -> None:
        """Makes calls, on a thread, until none waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    del self._working[worker]
                    return
                self._working[worker] = time.monotonic()
                owner, result, call = self._waiting.take()
                self._waiting.end_turn(owner)
                self._begun += 1
            if result.cancelled():  # abandoned: nobody would know that it was made
                continue
            value: Any = None
            failure: BaseException | None = None
            try:
                value = call()
            except BaseException as error:
                failure = error
            with self._lock:
                self._done.append((result, value, failure))
                is_last = not self._waiting
            del owner, result, call, value, failure
            if is_last:
                with contextlib.suppress(RuntimeError):  # it was closed: nobody waits any more
                    loop.call_soon_threadsafe(self._take_back)

    def _take_back(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for result, value, failure in done:
            if result.done():  # cancelled
                continue
            if failure is None:
                result.set_result(value)
            else:
                result.set_exception(failure)
