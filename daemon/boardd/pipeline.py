"""From parts of records to event files: the threads, and a writer for each run.

Reductions run on ``reducers`` threads; runs take turns, so that one run's images
delay another run's histogram by one reduction and not by a thousand. Files are
written by ``writers`` threads. The event loop only moves parts between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor

from boardd_protos import boardd_pb2 as pb

from boardd.core.batch import Part, SummaryRecord
from boardd.core.budget import Budgets
from boardd.core.order import FairQueue
from boardd.core.runs import Run
from boardd.logdir import Roots
from boardd.run_writer import RETRY_SECS, Outcomes, RunWriter
from boardd.summaries.record import Reduction, SummaryError
from boardd.summaries.summarize import summarize

_logger = logging.getLogger(__name__)


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
        self._run_writers: dict[Run, RunWriter] = {}
        self._queue: FairQueue[Run, tuple[RunWriter, int, SummaryRecord]] = FairQueue()
        self._reducing = 0
        self._reductions: set[asyncio.Task[None]] = set()

    @property
    def threads(self) -> Executor:
        """The threads for what touches the file system."""
        return self._writers

    def open(self, run: Run) -> None:
        """Begins to open the directory of ``run``, so that a refusal comes early."""
        self._writer_of(run)

    def admit(self, parts: Iterable[Part]) -> None:
        """Takes parts, in the call order of their sessions."""
        for part in parts:
            self._writer_of(part.run).admit(part)

    async def sync(self, runs: Iterable[Run]) -> str:
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
        tasks = [writer.task for writer in self._run_writers.values()]
        for writer in list(self._run_writers.values()):
            writer.abandon()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self._reducers.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)

    def _writer_of(self, run: Run) -> RunWriter:
        writer = self._run_writers.get(run)
        if writer is None:
            writer = self._run_writers[run] = RunWriter(
                run,
                self._roots,
                self._writers,
                self._outcomes,
                self._enqueue,
                2 * self._budgets.reducers,
                self._forget,
                self._retry_secs,
            )
        return writer

    def _forget(self, writer: RunWriter) -> None:
        if self._run_writers.get(writer.run) is writer:
            del self._run_writers[writer.run]

    # Reductions

    def _enqueue(self, writer: RunWriter, ticket: int, part: SummaryRecord) -> None:
        self._queue.push(writer.run, (writer, ticket, part))
        self._dispatch()

    def _dispatch(self) -> None:
        while len(self._queue) and self._reducing < self._budgets.reducers:
            self._reducing += 1
            task = asyncio.get_running_loop().create_task(self._reduce(*self._queue.pop()))
            self._reductions.add(task)
            task.add_done_callback(self._reductions.discard)

    async def _reduce(self, writer: RunWriter, ticket: int, part: SummaryRecord) -> None:
        result: Reduction | SummaryError
        refusal = part.run.refusal
        try:
            if refusal is not None:
                result = SummaryError(pb.RUN_REFUSED, refusal.message)
            else:
                result = await asyncio.get_running_loop().run_in_executor(
                    self._reducers, self._summarize, part
                )
        except SummaryError as error:
            result = error
        finally:
            self._reducing -= 1
        writer.reduced(ticket, part, result)
        self._dispatch()

    def _summarize(self, part: SummaryRecord) -> Reduction:
        return summarize(
            part.run.tags[part.tag].decode(),
            part.step,
            part.wall_time,
            part.payload,
            part.tensors,
            self._budgets.max_tensor_bytes,
        )
