"""The one writer of one run directory.

A task for each directory takes the run's parts in call order, lets reductions
end in any order behind it, and appends what is ready at the head. Encoding
and file I/O happen on threads, one call at a time for a run.

A record with side files is written by itself: first the files, then its events, and
only then does the record count as written.

A disk that refuses holds records up and loses none (``run_files``); the intake budget
stops the clients' streams once the records have filled it. The records of a run whose
directory is refused are rejected. Other runs notice neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import RefusedError
from boardd.core.runs.marks import drops_key, session_key
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import (
    DropPart,
    EndPart,
    MeasuredPart,
    MergedPart,
    PurgePart,
    RewindPart,
    RunPart,
    ScalarPart,
    SeriesPart,
    SummaryPart,
)
from boardd.events.tag_names import TagNames
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.writing.encode import (
    Encoded,
    encode_drops,
    encode_end,
    encode_measured,
    encode_scalar_part,
    encode_summary,
    join,
)
from boardd.runs.writing.encode_series import encode_series
from boardd.runs.writing.health_steps import HealthSteps
from boardd.runs.writing.hold_back import HoldBack
from boardd.runs.writing.outcomes import Outcomes
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_alone
from boardd.runs.writing.run_order import (
    Item,
    Items,
    ReducedSummary,
    RunOrder,
    Sync,
    take_part,
)
from boardd.runs.writing.succession import encode_purge, encode_rewind, superseded
from boardd.summaries.environment_faults import is_environment_fault
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.series import SeriesSummaries

_logger = logging.getLogger(__name__)


class RunWriter:
    """Writes one run; see the module. For the event loop's thread only.

    ``reductions`` turns summaries into events. ``on_idle`` is called when nothing is
    left to do and no file is open.
    """

    def __init__(
        self,
        run: RunState,
        files: RunFiles,
        outcomes: Outcomes,
        reductions: ReductionPool,
        on_idle: Callable[[RunWriter], None],
    ) -> None:
        self.run = run
        self._files = files
        self._outcomes = outcomes
        self._reductions = reductions
        self._on_idle = on_idle
        self._order = RunOrder()
        self._held = HoldBack(run, self._put_in_order)
        self._reducing = RunReductions(reduce_alone)
        self._names = TagNames()
        self._health = HealthSteps(run.path, run.contents)
        self.task = asyncio.get_running_loop().create_task(self._work(), name=f"run {run.path}")

    # Called by the table of runs

    def admit(self, *parts: RunPart) -> None:
        """Takes the next parts of the run."""
        self._held.admit(parts)

    def _put_in_order(self, parts: Sequence[RunPart]) -> None:
        summaries: list[tuple[int, SummaryPart]] = []
        for part in parts:
            if isinstance(part, SummaryPart):
                summaries.append((self._order.draw(), part))
            elif isinstance(
                part, (ScalarPart, DropPart, EndPart, MeasuredPart, PurgePart, RewindPart)
            ):
                self._order.append(part)
            else:
                raise TypeError(f"no kind of part: {part!r}")
        if summaries:
            self._reductions.add(self._reducing, summaries, self._take_results)

    async def sync(self) -> SyncResult:
        """Waits until all that was admitted, and is not held back, is durable.

        Returns whether it is.
        """
        done: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        self._order.append(Sync(done))
        return await done

    def abandon(self) -> None:
        """Stops without waiting; for a daemon that must leave now.

        Files stay open: a thread may be writing them.
        """
        self._held.close()
        self.task.cancel()

    def _take_results(self, results: list[Reduced]) -> None:
        for ticket, part, result in results:
            part.payload, part.tensors, part.maps = b"", {}, None
            if isinstance(part, MergedPart):
                part.partial = None
            reduced = ReducedSummary(part, result)
            self._outcomes.recharge(part, reduced.charged_bytes)
            self._order.complete(ticket, reduced)

    # The task

    async def _work(self) -> None:
        try:
            await self._files.open(gives_up=lambda: self._order.ready and not self.run.holders)
            while len(self._order) or len(self._held) or self._files.is_open:
                if self._order.ready:
                    items = self._order.take()
                    await self._advance(items)
                    if items.reduced_bytes:
                        self._reductions.written(self._reducing, items.reduced_bytes)
                else:
                    await self._order.wait()
        except Exception as error:
            if not is_environment_fault(error):
                raise
            await self._reductions.environment.hold_up(error)
        finally:
            self._on_idle(self)

    async def _advance(self, items: Items) -> None:
        try:
            head = items[0]
            if isinstance(head, EndPart):
                written_bytes = await self._end(head)
                # The last end closes the file; of others the records are still to come.
                if not (self.run.holders or self._order.ends or len(self._held)):
                    await self._files.close()
                self._outcomes.finish(take_part(items), written_bytes, 0)
            elif isinstance(head, Sync):
                head.answer(await self._files.sync())
                items.clear()
            else:
                await self._write(items)
        except Exception as error:
            if is_environment_fault(error):
                raise
            # A defect: these records suffer, the daemon goes on.
            _logger.exception("run %s", self.run.path)
            self._reject(items, pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")

    async def _end(self, part: EndPart) -> int:
        """Ends a session. Returns the bytes that were written because of it."""
        rest = encode_end(part, self._health)
        written_bytes = 0
        if rest.part is not None and await self._files.open():
            await self._files.append(*join([rest]))
            written_bytes = len(rest.events)
            self.run.progress.written_bytes += written_bytes
        for key in (session_key(part.session_id), drops_key(part.session_id)):
            self.run.contents.marks.end(key)
        return written_bytes

    async def _write(self, items: Items) -> None:
        encoded: list[Encoded] = []
        files_bytes = 0
        if await self._files.open():
            # The common case in one go: to another thread and back is what costs.
            encoded, error = await self._files.on_thread(
                lambda: self._encode_and_append(items), is_brief=items.is_brief
            )
            try:
                files_bytes = await self._finish_append(encoded, error)
            except RefusedError as refused:  # the embedding, which came alone
                encoded = [Encoded(error=SummaryError(refused.reason, str(refused)))]
                self._files.recovered()
        if not self._files.is_open:
            refusal = self.run.refusal
            self._reject(items, pb.RUN_REFUSED, refusal.message if refusal is not None else "")
            return
        self.run.progress.steps_backwards = self.run.contents.steps.backwards
        for one in encoded:
            part = take_part(items)
            if one.error is not None:
                self._outcomes.reject(part, one.error.reason, str(one.error))
                continue
            for left_out in one.refused:
                rejected = part.split_off(
                    left_out.sequence, left_out.records, left_out.last_sequence
                )
                self._outcomes.reject(rejected, left_out.reason, left_out.message)
            if one.warning:
                self._outcomes.warn(part, one.warning)
            written_bytes = len(one.events) + files_bytes
            self.run.progress.written_bytes += written_bytes
            self.run.progress.written += part.records - one.duplicates
            self._outcomes.finish(part, written_bytes, one.duplicates)

    def _encode_and_append(self, items: Items) -> tuple[list[Encoded], OSError | None]:
        """Encodes ``items``, and appends them unless they have side files. On a thread.

        Returns what is to be written for each, and why the append failed.
        """
        encoded = [_encode(item, self._names, self._health) for item in items]
        if encoded[0].embedding is None:
            try:
                self._files.append_once(*join(encoded))
            except OSError as error:
                return encoded, error
        return encoded, None

    async def _finish_append(self, encoded: list[Encoded], error: OSError | None) -> int:
        """Goes on after ``_encode_and_append``. Returns and raises as ``RunFiles.append``."""
        embedding = encoded[0].embedding
        if embedding is None and error is None:
            self._files.appended()
            return 0
        return await self._files.append(*join(encoded), embedding, earlier=error)

    def _reject(self, items: Items, reason: int, message: str) -> None:
        # A purge among them is not in the file: it has taken nothing over.
        self.run.contents.epoch = self.run.contents.written_epoch
        while items:
            head = items[0]
            if isinstance(head, Sync):
                head.answer(SyncResult(ok=False, reason=message))
                items.popleft()
            else:
                self._outcomes.reject(take_part(items), reason, message)


def _encode(item: Item, names: TagNames, health: HealthSteps) -> Encoded:
    if isinstance(item, (PurgePart, RewindPart)):
        purged = encode_purge(item) if isinstance(item, PurgePart) else encode_rewind(item)
        if purged.part is not None:
            health.forget()
        return purged
    part = item.part if isinstance(item, ReducedSummary) else item
    refused = superseded(part) if isinstance(part, RunPart) else None
    if refused is not None:
        return refused
    if (
        isinstance(item, ReducedSummary)
        and isinstance(item.part, SeriesPart)
        and isinstance(item.result, SeriesSummaries)
    ):
        return encode_series(item.part, item.result, health)
    if isinstance(item, ReducedSummary) and isinstance(item.result, (EncodedSummary, SummaryError)):
        return encode_summary(item.part, item.result, health)
    if isinstance(item, ScalarPart):
        return encode_scalar_part(item, names)
    if isinstance(item, DropPart):
        return encode_drops(item)
    if isinstance(item, MeasuredPart):
        return encode_measured(item)
    raise TypeError(f"no events in {item!r}")
