"""From parts of records to event files: the threads, and a writer for each run.

Reductions run on ``reducers`` threads; runs take turns, so that one run's images
delay another run's histogram by one reduction and not by a thousand. A thread
reduces until nothing is queued, and what it makes goes back to the event loop
together where that takes less than a millisecond: waking another thread takes
longer than a small histogram.
Files are written by ``writers`` threads. The event loop only moves parts between
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.budget import Budgets
from boardd.core.order import FairQueue
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart, SummaryPart
from boardd.runs.brief_calls import BriefCalls
from boardd.runs.logdir import Roots
from boardd.runs.run_writer import RETRY_SECS, Outcomes, RunWriter
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.summarize import summarize

_logger = logging.getLogger(__name__)

#: Records of one run that are out for reduction at once. Small ones come back together.
_WINDOW: Final = 64

#: For how long a result waits for others that go back to the event loop with it.
_HAND_BACK_SECS: Final = 0.001

#: A ticket of a run's writer, its record, and the result: None where it was not begun.
_Reduced = tuple[int, SummaryPart, EncodedSummary | SummaryError | None]


class Pipeline:
    """Writes what it is given, each run in its order; see the module.

    Made, used and closed on the event loop's thread. What becomes of each part
    is told to ``outcomes``.
    """

    def __init__(
        self,
        budgets: Budgets,
        roots: Roots,
        outcomes: Outcomes,
        retry_secs: float = RETRY_SECS,
    ) -> None:
        self._budgets = budgets
        self._roots = roots
        self._outcomes = outcomes
        self._retry_secs = retry_secs
        self._reducers = ThreadPoolExecutor(budgets.reducers, "boardd-reduce")
        self._writers = ThreadPoolExecutor(budgets.writers, "boardd-write")
        self._brief_calls = BriefCalls(self._writers, budgets.writers)
        self._run_writers: dict[RunState, RunWriter] = {}
        self._is_closed = False
        self._queue: FairQueue[RunState, tuple[RunWriter, int, SummaryPart]] = FairQueue()
        #: Reducing threads at work, and what they have made and not yet handed back.
        self._reducing = 0
        self._reduced: dict[RunWriter, list[_Reduced]] = {}
        #: Whether the event loop comes for it by itself, by the timer.
        self._is_awaited = False
        #: Guards the queue and the three above.
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def threads(self) -> Executor:
        """The threads for what touches the file system."""
        return self._writers

    def open(self, run: RunState) -> None:
        """Begins to open the directory of ``run``, so that a refusal comes early."""
        if not self._is_closed:
            self._writer_of(run)

    def admit(self, parts: Iterable[RunPart]) -> None:
        """Takes parts, in the call order of their sessions. DropPart them after ``close``."""
        if self._is_closed:
            return
        by_run: dict[RunState, list[RunPart]] = {}
        for part in parts:
            by_run.setdefault(part.run, []).append(part)
        for run, own in by_run.items():
            self._writer_of(run).admit(*own)

    async def sync(self, runs: Iterable[RunState]) -> str:
        """Waits until all that was admitted to ``runs`` is durable.

        Returns why something is not, or an empty text. A run whose file is
        closed was made durable when it was.
        """
        waiting = [
            self._run_writers[run].sync() for run in dict.fromkeys(runs) if run in self._run_writers
        ]
        return "; ".join(why for why in await asyncio.gather(*waiting) if why)

    async def close(self) -> None:
        """Leaves, whatever is still open: gives up what is not written by now.

        A thread that hangs in the file system is left behind.
        """
        self._is_closed = True
        tasks = [writer.task for writer in self._run_writers.values()]
        for writer in list(self._run_writers.values()):
            writer.abandon()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self._brief_calls.close()
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._queue = FairQueue()
        self._reducers.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)

    def _writer_of(self, run: RunState) -> RunWriter:
        writer = self._run_writers.get(run)
        if writer is None:
            writer = self._run_writers[run] = RunWriter(
                run,
                self._roots,
                self._writers,
                self._brief_calls,
                self._outcomes,
                self._enqueue,
                _WINDOW,
                self._forget,
                self._retry_secs,
            )
        return writer

    def _forget(self, writer: RunWriter) -> None:
        if self._run_writers.get(writer.run) is writer:
            del self._run_writers[writer.run]

    # Reductions

    def _enqueue(self, writer: RunWriter, records: list[tuple[int, SummaryPart]]) -> None:
        if self._is_closed:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            for ticket, part in records:
                self._queue.push(writer.run, (writer, ticket, part))
            idle = min(self._budgets.reducers - self._reducing, len(records))
            self._reducing += idle
            self._is_awaited = True
        for _ in range(idle):
            self._reducers.submit(self._reduce, loop)
        if self._timer is None:
            self._timer = loop.call_later(_HAND_BACK_SECS, self._take_back_by_timer)

    def _reduce(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reduces what is queued, on a thread, until nothing is."""
        is_last = False
        while not is_last:
            with self._lock:
                if not len(self._queue):  # another thread was faster, or all was closed
                    self._reducing -= 1
                    return
                writer, ticket, part = self._queue.pop()
                may_reduce = writer.may_reduce(ticket)
            result = self._result(part) if may_reduce else None
            with self._lock:
                if isinstance(result, EncodedSummary):
                    writer.add_reduced_bytes(result.size_bytes)
                self._reduced.setdefault(writer, []).append((ticket, part, result))
                is_last = not len(self._queue)
                self._reducing -= is_last
                is_due = is_last or not self._is_awaited
                self._is_awaited = True
            del part, result  # what they hold is the event loop's to let go
            if is_due:
                with contextlib.suppress(RuntimeError):  # it was closed: nobody waits any more
                    loop.call_soon_threadsafe(self._take_back)

    def _take_back_by_timer(self) -> None:
        self._timer = None
        self._take_back()

    def _take_back(self) -> None:
        with self._lock:
            reduced, self._reduced = self._reduced, {}
            is_more = bool(len(self._queue) or self._reducing)
            # Where a reduction takes long, its thread wakes the event loop.
            self._is_awaited = is_more and bool(reduced)
            is_awaited = self._is_awaited
        if self._is_closed:
            return
        if is_awaited and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_HAND_BACK_SECS, self._take_back_by_timer)
        elif not is_awaited and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for writer, results in reduced.items():
            writer.reduced(results)

    def _result(self, part: SummaryPart) -> EncodedSummary | SummaryError:
        refusal = part.run.refusal
        if refusal is not None:
            return SummaryError(pb.RUN_REFUSED, refusal.message)
        try:
            return summarize(
                part.run.tags[part.tag].decode(),
                part.step,
                part.wall_time,
                part.payload,
                part.tensors,
                self._budgets.max_tensor_bytes,
                part.maps,
            )
        except SummaryError as error:
            # Its traceback names the tensors, which may lie in a map that is to be let go.
            return SummaryError(error.reason, str(error))
        except Exception as error:  # a defect: this record suffers, the thread goes on
            _logger.exception("run %s", part.run.path)
            return SummaryError(pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")
