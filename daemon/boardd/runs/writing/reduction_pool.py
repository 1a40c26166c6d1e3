"""The threads that reduce summaries, and the queue in front of them.

Sessions take turns, and the runs of a session, so that the images of one delay a
histogram of another by one reduction and not by a thousand. A run whose events wait for
its file is passed over (``UNWRITTEN_BYTES``). Reductions that take long are made on a
share of the threads, so that brief ones always have one (``LONG_SECS``).

A thread reduces until nothing may be begun. What it makes goes back to the event
loop then, or together with all that is made within some milliseconds: waking a
thread takes longer than a small histogram. So a summary crosses to a reducing
thread once and back once, and comes back as an encoded record that nothing encodes
again; its append goes with the run's next. One thread begins, and the others help it if
that takes longer than a millisecond: more of them would only take turns at small tensors.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from boardd_protos import boardd_pb2 as pb
from google.protobuf.message import DecodeError

from boardd.core.durations import Durations
from boardd.core.held import Held
from boardd.core.lanes import Lanes
from boardd.core.runs.run_state import LongReduction
from boardd.core.session.batch import MergedPart, SummaryPart
from boardd.core.turns import FairQueue, Flow, Taken
from boardd.runs.writing.environment import Environment
from boardd.runs.writing.reduction_memory import ReductionMemory
from boardd.runs.writing.reduction_notes import ReductionNotes
from boardd.runs.writing.reductions import Reduce, ReduceTogether, Reduction
from boardd.summaries.duration import secs_of
from boardd.summaries.environment_faults import is_environment_fault
from boardd.summaries.reduction import SummaryError
from boardd.summaries.shared_histograms import is_joined
from boardd.summaries.working_memory import MemoryEstimate, estimated_memory

_logger = logging.getLogger(__name__)

#: No reduction of a run begins while this much of its events waits to be written.
UNWRITTEN_BYTES: Final = 32 << 20

#: A reduction that is estimated to take longer is a long one.
LONG_SECS: Final = 0.5
#: So is that of a point that ranks made together, if they contributed that much to it.
_LONG_MERGED_BYTES: Final = 16 << 20
#: One that is estimated to take as long is noted, for the next daemon if this one is killed:
#: what takes much memory takes time as well.
NOTED_SECS: Final = 0.05

#: Small histograms are made together until they are estimated to take as long, in seconds, or are
#: so many, as one takes a while whatever is in it: others wait for them meanwhile. What they take
#: together is a few MiB, which wait for no memory (``SMALL_BYTES``).
_JOINED_SECS: Final = 0.002
_JOINED_RECORDS: Final = 64

#: Copies of a merged value until it is encoded.
_MERGED_COPIES: Final = 6

#: When a thread has reduced for so long, in seconds, others help it.
_HELP_SECS: Final = 0.001
#: How long a result waits at most for others that go back to the event loop with it, in seconds.
_HAND_BACK_SECS: Final = 0.005

#: The ticket of a record, the record, and its result.
Reduced = tuple[int, SummaryPart, Reduction | SummaryError]
#: Takes the results of one run, on the event loop.
Deliver = Callable[[list[Reduced]], None]


class _Work:
    """A record that is to be reduced; how long that may take is estimated here, before it waits.

    ``message`` is its payload if it may be reduced together with others.
    """

    __slots__ = ("deliver", "message", "part", "secs", "ticket")

    def __init__(self, ticket: int, part: SummaryPart, deliver: Deliver, *, may_join: bool) -> None:
        self.ticket = ticket
        self.part = part
        self.deliver = deliver
        self.secs, self.message = _look_at(part, may_join=may_join)

    @property
    def is_long(self) -> bool:
        """Whether it is for the lane of long ones."""
        return self.secs >= LONG_SECS


@contextlib.contextmanager
def _shown(work: _Work) -> Iterator[None]:
    """Shows in the run's progress that a long reduction is made."""
    if not work.is_long:
        yield
        return
    run = work.part.run
    tag = run.tags[work.part.tag].decode()
    run.progress.reducing = shown = LongReduction(tag, time.monotonic(), work.secs)
    try:
        yield
    finally:
        if run.progress.reducing is shown:
            run.progress.reducing = None


def _look_at(part: SummaryPart, *, may_join: bool) -> tuple[float, pb.Payload | None]:
    """How long it may take to reduce ``part``, and its payload if it joins others.

    ``LONG_SECS`` if nothing can be said of it.
    """
    if isinstance(part, MergedPart):
        return LONG_SECS if part.partial.size_bytes >= _LONG_MERGED_BYTES else 0.0, None
    try:
        message = pb.Payload.FromString(part.payload)
        return secs_of(message), message if may_join and is_joined(message) else None
    except DecodeError:  # which is refused at once
        return 0.0, None
    except Exception:  # a defect: the record takes its turn, and may suffer then
        _logger.exception("run %s", part.run.path)
        return LONG_SECS, None


def _estimated(part: SummaryPart, budget_bytes: int, max_projection_bytes: int) -> MemoryEstimate:
    if isinstance(part, MergedPart):
        # What its values are presented from was made of tensors that passed.
        size_bytes = _MERGED_COPIES * part.partial.size_bytes
        return MemoryEstimate(size_bytes, size_bytes)
    return estimated_memory(
        part.payload,
        is_by_value=bool(part.tensors),
        budget_bytes=budget_bytes,
        max_projection_bytes=max_projection_bytes,
    )


class RunReductions(Flow[_Work]):
    """The reductions of one run, which ``reduce`` makes; see ``ReductionPool``.

    With ``reduce_together``, small histograms are made by that, many at a time.
    """

    __slots__ = ("reduce", "reduce_together")

    def __init__(self, reduce: Reduce, reduce_together: ReduceTogether | None = None) -> None:
        super().__init__()
        self.reduce = reduce
        self.reduce_together = reduce_together


class ReductionPool:
    """Reduces on at most ``max_threads`` threads; see the module.

    If that is one, long reductions are made on a second. Made, used and closed on the event
    loop's thread. A projection takes at most about ``max_tensor_bytes``, and all reductions
    together ``memory_bytes``, estimated before they begin; half of it is for long ones. One that
    takes more is made beside no other large one of its lane, or refused if that is out of
    proportion to its tensors. At most ``unwritten_bytes`` of results wait to be written, and
    one of each run more.
    """

    def __init__(
        self,
        max_threads: int,
        max_tensor_bytes: int,
        memory_bytes: int = 1 << 30,
        unwritten_bytes: int = 512 << 20,
    ) -> None:
        #: Told of modules that cannot be loaded; what needs them gets no result.
        self.environment: Final = Environment()
        #: Where it is noted what is being reduced; None: nowhere.
        self.notes: ReductionNotes | None = None
        self._max_tensor_bytes = max_tensor_bytes
        self._memory_bytes = memory_bytes
        half_bytes = memory_bytes // 2
        #: By whether they are for long reductions.
        self._memory = {True: ReductionMemory(half_bytes), False: ReductionMemory(half_bytes)}
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        #: Guards all below, and every ``RunReductions``.
        self._lock = threading.Lock()
        queue: FairQueue[_Work] = FairQueue(
            UNWRITTEN_BYTES, lambda work: work.is_long, unwritten_bytes
        )
        self._lanes = Lanes(queue, max_threads)
        #: What is made and not yet handed back.
        self._reduced: dict[Deliver, list[Reduced]] = {}
        #: Whether the event loop comes for it by itself, by the timer.
        self._is_awaited = False
        self._threads = ThreadPoolExecutor(self._lanes.max_threads, "boardd-reduce")

    def add(
        self, run: RunReductions, records: Iterable[tuple[int, SummaryPart]], deliver: Deliver
    ) -> None:
        """Queues the next records of a run, each with its ticket; ``deliver`` takes the results.

        After ``close`` they are dropped.
        """
        if self._is_closed:
            return
        may_join = run.reduce_together is not None
        work = [_Work(ticket, part, deliver, may_join=may_join) for ticket, part in records]
        with self._lock:
            for one in work:
                self._lanes.push(run, one.part.session_id, one)
            threads = self._reserve_threads(1)
        self._start(threads)

    def written(self, run: RunReductions, size_bytes: int) -> None:
        """Notes that ``size_bytes`` of results no longer wait."""
        with self._lock:
            has_turn = self._lanes.queue.used(run, size_bytes)
            threads = self._reserve_threads(1) if has_turn else 0
        if has_turn and not self._is_closed:
            self._start(threads)

    @property
    def durations(self) -> Durations:
        """How long reductions take, without the wait for their turn."""
        return self._lanes.durations

    def held(self) -> Iterator[Held]:
        """What it holds of its budgets."""
        memory_bytes = sum(memory.held_bytes for memory in self._memory.values())
        yield Held("reduction-bytes", memory_bytes, self._memory_bytes)
        queue = self._lanes.queue
        yield Held("unwritten-bytes", queue.unused_bytes, queue.budget_bytes)

    def close(self) -> None:
        """Gives up what is queued and what is not yet handed back.

        A reduction under way ends by itself, and its result goes nowhere.
        """
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._lanes.queue.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.notes is not None:
            self.notes.close()

    def _reserve_threads(self, most: int) -> int:
        """Returns how many threads are to be started, so that ``most`` make brief reductions."""
        threads = self._lanes.reserve(most)
        if threads:
            self._is_awaited = True
        return threads

    def _start(self, threads: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(threads):
            self._threads.submit(self._work, loop)
        if self._timer is None:
            self._timer = loop.call_later(_HELP_SECS, self._look)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reduces, on a thread, until nothing may be begun."""
        with self._lock:
            taken = self._take()
        while taken:
            if taken[0].is_long:
                self._wake(loop, self._look)  # others may reduce beside it
            begin = time.perf_counter()
            results = self._results(taken)
            self.durations.add(time.perf_counter() - begin, len(taken))
            with self._lock:
                for one, result in zip(taken, results, strict=True):
                    self._note_made(one, result)
                del one, result, results  # what they hold is the event loop's to let go
                taken = self._take()
                is_due = not taken or not self._is_awaited
                self._is_awaited = True
            if is_due:
                self._wake(loop, self._take_back)

    def _take(self) -> list[Taken[_Work]]:
        """Takes what a thread makes next: one, or some that may be made together."""
        first = self._lanes.take()
        if first is None:
            return []
        taken, last = [first], first
        secs = first.item.secs
        while last.item.message is not None and last.flow is first.flow and secs < _JOINED_SECS:
            another = self._lanes.take_another() if len(taken) < _JOINED_RECORDS else None
            if another is None:
                break
            taken.append(another)
            last, secs = another, secs + another.item.secs
        return taken

    def _note_made(self, taken: Taken[_Work], result: Reduction | SummaryError | None) -> None:
        if result is None or isinstance(result, SummaryError):
            self._lanes.made(taken, 0)
        else:
            self._lanes.made(taken, result.size_bytes)
        work = taken.item
        reduced = self._reduced.setdefault(work.deliver, [])
        if result is not None:
            reduced.append((work.ticket, work.part, result))

    @staticmethod
    def _wake(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # it was closed: nobody waits any more
            loop.call_soon_threadsafe(call)

    def _results(self, taken: Sequence[Taken[_Work]]) -> Sequence[Reduction | SummaryError | None]:
        """Returns what is made of each: of the first ones together, if they may be."""
        flow = taken[0].flow
        joined = list(itertools.takewhile(lambda one: one.flow is flow and one.item.message, taken))
        results: list[Reduction | SummaryError | None] = []
        if len(joined) > 1:
            results += self._together(flow, [one.item for one in joined])
        return results + [self._reduce(one.flow, one.item) for one in taken[len(results) :]]

    def _together(
        self, run: Flow[_Work], works: Sequence[_Work]
    ) -> Sequence[Reduction | SummaryError | None]:
        """Returns what is made of each; nothing if they cannot be made together."""
        assert isinstance(run, RunReductions)
        assert run.reduce_together is not None
        records = [(work.part, work.message) for work in works if work.message is not None]
        if any(part.run.refusal is not None for part, _ in records):
            return []
        try:
            return run.reduce_together(records, self._max_tensor_bytes)
        except Exception as error:
            if is_environment_fault(error):
                self.environment.note(error)
                return [None] * len(works)
            # A defect: those that can be made one by one are.
            _logger.exception("run %s", works[0].part.run.path)
            return []

    def _reduce(self, run: Flow[_Work], work: _Work) -> Reduction | SummaryError | None:
        """Returns None for a record that is held up; see ``Environment``."""
        part = work.part
        refusal = part.run.refusal
        if refusal is not None:
            return SummaryError(pb.RUN_REFUSED, refusal.message)
        assert isinstance(run, RunReductions)
        try:
            estimate = _estimated(part, self._memory_bytes, self._max_tensor_bytes)
            if not estimate.is_allowed:
                raise SummaryError(
                    pb.TENSOR_TOO_LARGE,
                    f"tag {part.run.tags[part.tag].decode()!r}: it takes about "
                    f"{estimate.size_bytes >> 20} MiB of memory to be reduced, and "
                    f"{estimate.allowed_bytes >> 20} MiB may be taken for tensors of its size: "
                    "log fewer values, less padding, or raise --reduction-bytes",
                )
            with self._memory[work.is_long].holding(estimate.size_bytes), _shown(work):
                if self.notes is None or work.secs < NOTED_SECS:
                    return run.reduce(part, self._max_tensor_bytes)
                with self.notes.noted(part):
                    return run.reduce(part, self._max_tensor_bytes)
        except SummaryError as error:
            # Its traceback names the tensors, which may lie in a map that is to be let go.
            return SummaryError(error.reason, str(error))
        except Exception as error:
            if is_environment_fault(error):
                self.environment.note(error)
                return None
            # A defect: this record suffers, the thread goes on.
            _logger.exception("run %s", part.run.path)
            return SummaryError(pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")

    def _look(self) -> None:
        """Starts more threads if one alone has not reduced everything, and takes results back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            threads = 0 if self._is_closed else self._reserve_threads(self._lanes.max_threads)
        if threads:
            self._start(threads)
        self._take_back()

    def _take_back(self) -> None:
        with self._lock:
            reduced, self._reduced = self._reduced, {}
            is_more = self._lanes.queue.has_turns or self._lanes.is_at_work
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
            try:
                deliver(results)
            except Exception:  # a defect: the other runs are handed theirs
                _logger.exception("%d results cannot be taken", len(results))
