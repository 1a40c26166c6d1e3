"""The threads for all that touches the file system.

So many calls as there are places are made at once. A file system may hang, though, as one
whose server is gone does, and then none of its calls returns. So a call that lasts longer
than a second loses its place to the next one, and from then on waits alone, on its thread.
There is a bound on such threads too; once it is met, calls wait for places again.

Owners take turns at the places. So one with a thousand calls, which a slow disk may take a
second for each, delays another's by one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from boardd.core.held import Held
from boardd.core.turns import Turns

#: Seconds after which a call loses its place.
HANGING_SECS: Final = 1.0
#: Calls without a place.
MAX_HANGING: Final = 64

_Result = TypeVar("_Result")


class _Call:
    """A call that was asked for; ``future`` gets its result."""

    __slots__ = ("begun_at", "call", "future", "has_place", "owner")

    def __init__(self, owner: Hashable, call: Callable[[], Any]) -> None:
        self.owner = owner
        self.call = call
        self.future: Future[Any] = Future()
        self.begun_at = 0.0
        self.has_place = True

    def make(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class WriterThreads(Executor):
    """Calls in ``places``; see the module. Made, used and shut down on the event loop's thread."""

    def __init__(
        self, places: int, hanging_secs: float = HANGING_SECS, max_hanging: int = MAX_HANGING
    ) -> None:
        self._places = places
        self._hanging_secs = hanging_secs
        self._max_hanging = max_hanging
        self._look: asyncio.TimerHandle | None = None
        self._names = 0
        #: Guards all below.
        self._wake = threading.Condition()
        self._waiting: Turns[_Call] = Turns()
        self._begun: set[_Call] = set()
        self._idle = 0
        #: Threads that were started or woken and have not looked for a call since.
        self._coming = 0
        self._is_shut_down = False

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Asks for a call that is nobody's. Raises ``RuntimeError`` after ``shutdown``."""
        return self.submit_for(None, lambda: fn(*args, **kwargs))

    def submit_for(self, owner: Hashable, call: Callable[[], _Result]) -> Future[_Result]:
        """Asks for a call of ``owner``'s. Raises ``RuntimeError`` after ``shutdown``."""
        waiting = _Call(owner, call)
        with self._wake:
            if self._is_shut_down:
                raise RuntimeError("a call after shutdown")
            self._waiting.add(owner, waiting)
        self._go_on()
        return waiting.future

    def of(self, owner: Callable[[], Hashable]) -> Executor:
        """These threads, for calls of the one that ``owner`` returns at the time."""
        return _Owned(self, owner)

    def held(self, waiting: int) -> Iterator[Held]:
        """Calls that are made, that hang, and that wait, with ``waiting`` others.

        Those that wait have no bound of their own: what they write is held elsewhere.
        """
        with self._wake:
            placed = sum(call.has_place for call in self._begun)
            hanging = len(self._begun) - placed
            waiting += len(self._waiting)
        yield Held("writers", placed, self._places)
        yield Held("hanging-writes", hanging, self._max_hanging)
        yield Held("waiting-writes", waiting, 0)

    @property
    def hanging(self) -> int:
        """Calls that have lost their place and have not returned."""
        with self._wake:
            return sum(not call.has_place for call in self._begun)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begins no more calls. A call that hangs is left behind, whatever ``wait`` says."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        with self._wake:
            self._is_shut_down = True
            waiting = self._waiting.clear() if cancel_futures else []
            self._wake.notify_all()
        for call in waiting:
            call.future.cancel()

    def _go_on(self) -> None:
        """Has calls that wait begun, as far as there are places; looks again if any wait."""
        with self._wake:
            wanted = max(0, min(len(self._waiting), self._free_places()) - self._coming)
            woken = min(wanted, self._idle)
            self._idle -= woken
            self._coming += woken
            self._wake.notify(woken)
            is_any_waiting = bool(self._waiting)
        for _ in range(wanted - woken):
            self._names += 1
            # A daemon thread: one that hangs holds up no end of the interpreter.
            thread = threading.Thread(
                target=self._work, name=f"boardd-write_{self._names}", daemon=True
            )
            with self._wake:
                self._coming += 1
            try:
                thread.start()
            except RuntimeError:  # the system has none to spare
                with self._wake:
                    self._coming -= 1
                break
        if is_any_waiting and self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(self._hanging_secs / 4, self._look_again)

    def _free_places(self) -> int:
        return self._places - sum(call.has_place for call in self._begun)

    def _look_again(self) -> None:
        self._look = None
        latest = time.monotonic() - self._hanging_secs
        with self._wake:
            hanging = sum(not call.has_place for call in self._begun)
            for call in self._begun:
                if call.has_place and call.begun_at <= latest and hanging < self._max_hanging:
                    call.has_place = False
                    hanging += 1
        self._go_on()

    def _work(self) -> None:
        """Makes calls, on a thread, while there are places."""
        with self._wake:
            self._coming -= 1
        while True:
            with self._wake:
                while not self._waiting or self._free_places() <= 0:
                    if self._is_shut_down or self._idle >= self._places:
                        return
                    self._idle += 1
                    self._wake.wait()
                    if self._is_shut_down:
                        return
                    self._coming -= 1
                call = self._waiting.take()
                self._waiting.end_turn(call.owner)
                call.begun_at = time.monotonic()
                self._begun.add(call)
            try:
                call.make()
            finally:
                with self._wake:
                    self._begun.discard(call)
            del call


class _Owned(Executor):
    """``threads``, for the calls of one owner."""

    def __init__(self, threads: WriterThreads, owner: Callable[[], Hashable]) -> None:
        self._threads = threads
        self._owner = owner

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """See ``WriterThreads.submit_for``."""
        return self._threads.submit_for(self._owner(), lambda: fn(*args, **kwargs))
