"""The threads that reduce summaries, and the queue in front of them.

Runs take turns, so that one run's images delay another run's histogram by one
reduction and not by a thousand. A run whose events wait for its file is passed
over (``UNWRITTEN_BYTES``).

A thread reduces until nothing may be begun. What it makes goes back to the event
loop together with all that other threads make within a millisecond: waking a
thread takes longer than a small histogram. So a summary crosses to a reducing
thread once and back once, and comes back as an encoded record that nothing encodes
again; its append goes with the run's next. One thread begins, and the others help it if
that takes longer than a millisecond: more of them would only take turns at small tensors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.order import FairQueue, Flow
from boardd.core.session.batch import SummaryPart
from boardd.runs.writing.reductions import Reduce, Reduction
from boardd.summaries.reduction import SummaryError

_logger = logging.getLogger(__name__)

#: No reduction of a run begins while this much of its events waits to be written.
UNWRITTEN_BYTES: Final = 32 << 20

#: How long a result waits for others that go back to the event loop with it, in seconds.
_HAND_BACK_SECS: Final = 0.001

#: The ticket of a record, the record, and its result.
Reduced = tuple[int, SummaryPart, Reduction | SummaryError]
#: Takes the results of one run, on the event loop.
Deliver = Callable[[list[Reduced]], None]

_Work = tuple[int, SummaryPart, Deliver]


class RunReductions(Flow[_Work]):
    """The reductions of one run, which ``reduce`` makes; see ``ReductionPool``."""

    __slots__ = ("reduce",)

    def __init__(self, reduce: Reduce) -> None:
        super().__init__()
        self.reduce = reduce


class ReductionPool:
    """Reduces on at most ``max_threads`` threads; see the module.

    Made, used and closed on the event loop's thread. A reduction whose memory grows
    with more than its input and its result takes at most about ``max_tensor_bytes``.
    """

    def __init__(self, max_threads: int, max_tensor_bytes: int) -> None:
        self._max_threads = max_threads
        self._max_tensor_bytes = max_tensor_bytes
        self._threads = ThreadPoolExecutor(max_threads, "boardd-reduce")
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        #: Guards all below, and every ``RunReductions``.
        self._lock = threading.Lock()
        self._queue: FairQueue[_Work] = FairQueue(UNWRITTEN_BYTES)
        #: Threads at work, and what they have made and not yet handed back.
        self._reducing = 0
        self._reduced: dict[Deliver, list[Reduced]] = {}
        #: Whether the event loop comes for it by itself, by the timer.
        self._is_awaited = False

    def add(
        self, run: RunReductions, records: Iterable[tuple[int, SummaryPart]], deliver: Deliver
    ) -> None:
        """Queues the next records of a run, each with its ticket; ``deliver`` takes the results.

        After ``close`` they are dropped.
        """
        if self._is_closed:
            return
        with self._lock:
            for ticket, part in records:
                self._queue.push(run, (ticket, part, deliver))
            threads = self._reserve_threads(1)
        self._start(threads)

    def written(self, run: RunReductions, size_bytes: int) -> None:
        """Notes that ``size_bytes`` of results no longer wait."""
        with self._lock:
            has_turn = self._queue.used(run, size_bytes)
            threads = self._reserve_threads(1) if has_turn else 0
        if has_turn and not self._is_closed:
            self._start(threads)

    def close(self) -> None:
        """Gives up what is queued and what is not yet handed back.

        A reduction under way ends by itself, and its result goes nowhere.
        """
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._queue.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _reserve_threads(self, most: int) -> int:
        """Counts threads as at work, until ``most`` are. Returns how many are to be started."""
        if not self._queue:
            return 0
        threads = max(0, min(self._max_threads, most) - self._reducing)
        if threads:
            self._reducing += threads
            self._is_awaited = True
        return threads

    def _start(self, threads: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(threads):
            self._threads.submit(self._work, loop)
        if self._timer is None:
            self._timer = loop.call_later(_HAND_BACK_SECS, self._look)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reduces, on a thread, until nothing may be begun."""
        with self._lock:
            taken = self._take()
        while taken is not None:
            run, (ticket, part, deliver) = taken
            result = self._reduce(run, part)
            with self._lock:
                if not isinstance(result, SummaryError):
                    self._queue.made(run, result.size_bytes)
                self._reduced.setdefault(deliver, []).append((ticket, part, result))
                taken = self._take()
                is_due = taken is None or not self._is_awaited
                self._is_awaited = True
            del run, part, deliver, result  # what they hold is the event loop's to let go
            if is_due:
                with contextlib.suppress(RuntimeError):  # it was closed: nobody waits any more
                    loop.call_soon_threadsafe(self._take_back)

    def _take(self) -> tuple[Flow[_Work], _Work] | None:
        """Takes a record for this thread, which ends if there is none."""
        taken = self._queue.pop()
        if taken is None:
            self._reducing -= 1
        return taken

    def _reduce(self, run: Flow[_Work], part: SummaryPart) -> Reduction | SummaryError:
        refusal = part.run.refusal
        if refusal is not None:
            return SummaryError(pb.RUN_REFUSED, refusal.message)
        assert isinstance(run, RunReductions)
        try:
            return run.reduce(part, self._max_tensor_bytes)
        except SummaryError as error:
            # Its traceback names the tensors, which may lie in a map that is to be let go.
            return SummaryError(error.reason, str(error))
        except Exception as error:  # a defect: this record suffers, the thread goes on
            _logger.exception("run %s", part.run.path)
            return SummaryError(pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")

    def _look(self) -> None:
        """Starts more threads if one alone has not reduced everything, and takes results back."""
        self._timer = None
        with self._lock:
            threads = self._reserve_threads(self._max_threads)
        if threads:
            self._start(threads)
        self._take_back()

    def _take_back(self) -> None:
        with self._lock:
            reduced, self._reduced = self._reduced, {}
            is_more = bool(self._queue) or self._reducing > 0
            # A reduction that takes longer wakes the event loop from its thread.
            self._is_awaited = is_more and bool(reduced)
            is_awaited = self._is_awaited
        if self._is_closed:
            return
        if is_awaited and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_HAND_BACK_SECS, self._look)
        elif not is_more and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for deliver, results in reduced.items():
            deliver(results)
