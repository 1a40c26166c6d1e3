"""Writes the journal of one group of ranks, and hands its points on to their files.

The counterpart of ``RunWriter`` for a run that is merged. A record counts as written once
its contribution is in the journal, whatever other ranks do. ``core.groups`` decides which
points are done; ``group_recorder`` has everything in the journal before it counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.runs.run_state import Holder, Member, Runs, RunState
from boardd.core.session.batch import DropPart, EndPart, PurgePart, RunPart, ScalarPart, SummaryPart
from boardd.relay.relay import Batch, position_after
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.group_log import RELEASE_SECS, GroupLog
from boardd.runs.groups.group_members import GroupMembers
from boardd.runs.writing.group_work import AnyWork, Outcome, RelayedWork, SharedSummary, Work
from boardd.runs.writing.outcomes import Outcomes
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_to_share
from boardd.runs.writing.run_order import (
    Item,
    Presence,
    ReducedSummary,
    RelayedItem,
    RunOrder,
    Sync,
    is_brief,
    reduced_bytes,
)
from boardd.summaries.reduction import SummaryError

_logger = logging.getLogger(__name__)

#: The group's own place among the members of its journal's run, so that it stays known.
HOLDER: Final[Holder] = (b"group", 0)
NOBODY: Final = Member(-1, 0, "")


class GroupWriter:
    """Writes the group of ``run``, its journal; see the module. For the event loop's thread only.

    ``on_idle`` is called when the group is over and no file is open.
    """

    def __init__(
        self,
        run: RunState,
        runs: Runs,
        log: GroupLog,
        members: GroupMembers,
        outcomes: Outcomes,
        reductions: ReductionPool,
        on_idle: Callable[[GroupWriter], None],
    ) -> None:
        self.run = run
        self.log = log
        #: The daemon leaves: members that are ended now go on with the next one.
        self.is_draining = False
        self._runs = runs
        self._members = members
        self._outcomes = outcomes
        self._reductions = reductions
        self._on_idle = on_idle
        self._order = RunOrder()
        self._reducing = RunReductions(reduce_to_share)
        runs.join(run.path, run.group, run.filename_suffix, HOLDER, NOBODY, is_needed=True)
        run.holders.discard(HOLDER)
        self.task = asyncio.get_running_loop().create_task(self._work(), name=f"run {run.path}")

    # Called by the table of runs

    def note_members(self) -> None:
        """Looks which sessions log to the run by now."""
        for joined in self._members.newcomers():
            self._order.append(Presence(joined))

    def admit(self, *parts: RunPart) -> None:
        """Takes the next parts of the run."""
        self.note_members()
        summaries: list[tuple[int, SummaryPart]] = []
        for part in parts:
            if isinstance(part, SummaryPart):
                summaries.append((self._order.draw(), part))
            elif isinstance(part, (ScalarPart, DropPart, EndPart, PurgePart)):
                self._order.append(part)
            else:
                raise TypeError(f"no kind of part: {part!r}")
        if summaries:
            self._reductions.add(self._reducing, summaries, self._take_results)

    async def relay(self, batch: Batch, works: Sequence[RelayedWork]) -> int:
        """Waits until ``works``, a batch's, are in the journal. Returns its producer's position.

        Raises ``RelayError``.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._order.append(RelayedItem(batch, works, done))
        return await done

    async def sync(self) -> SyncResult:
        """Waits until all that was admitted is durable in the journal. Returns whether it is."""
        done: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        self._order.append(Sync(done))
        return await done

    def wake(self) -> None:
        """Something of the group's points is written."""
        self._order.wake()

    def drain(self) -> None:
        """Ends as soon as nobody logs and all points that are decided are written."""
        self.is_draining = True
        self._order.wake()

    def abandon(self) -> None:
        """Stops without waiting; for a daemon that must leave now."""
        self.log.abandon()
        self.task.cancel()

    def _take_results(self, results: list[Reduced]) -> None:
        for ticket, part, result in results:
            part.payload, part.tensors, part.maps = b"", {}, None
            reduced = ReducedSummary(part, result)
            self._outcomes.recharge(part, reduced.size_bytes)
            self._order.complete(ticket, reduced)

    # The task

    async def _work(self) -> None:
        try:
            is_open = await self._open()
            while not (is_open and self._may_close() and await self._close()):
                if not is_open and not len(self._order):
                    break
                await self._wait()
                items = self._order.take() if self._order.ready else deque()
                await self._advance(items)
                is_open = self.log.files.is_open
        finally:
            self._runs.leave_run(self.run, HOLDER)
        self._on_idle(self)

    async def _open(self) -> bool:
        if not await self.log.files.open():
            return False
        group, now = self.log.group, asyncio.get_running_loop().time()
        self._members.restored(group.live_sessions, now)
        await self.log.emit()
        return True

    @property
    def is_over(self) -> bool:
        """Whether all ranks have left, and nothing is waited for."""
        group = self.log.group
        return group.group_id is None or group.is_over(asyncio.get_running_loop().time())

    def _may_close(self) -> bool:
        if len(self._order) or self.run.holders or not self.log.is_settled:
            return False
        return self.is_draining or self.is_over

    async def _close(self) -> bool:
        """Closes all files; returns False if there is more to write by now."""
        self.log.output.end()
        while not self.log.output.is_idle:
            await self._order.wait()
        if not len(self._order) and not self.run.holders:
            await self.log.files.close()
        if len(self._order) or self.run.holders:
            return False
        self.log.output.leave()
        return True

    async def _wait(self) -> None:
        """Waits for the next item, or until time alone changes something."""
        loop = asyncio.get_running_loop()
        if self._order.ready or self.log.can_catch_up:
            return
        now = loop.time()
        group = self.log.group
        due = [time for time in (group.next_due(now), self._members.deadline) if time is not None]
        until = max(now, min((*due, now + RELEASE_SECS)))
        timer = loop.call_at(until, self._order.wake)
        try:
            await self._order.wait()
        finally:
            timer.cancel()

    async def _advance(self, items: deque[Item]) -> None:
        size_bytes = reduced_bytes(items)
        try:
            if items and isinstance(items[0], Sync):
                items[0].answer(await self.log.files.sync())
            else:
                await self._record(items)
                if self.log.files.is_open:
                    await self._go_on()
        except Exception as error:  # a defect: these records suffer, the daemon goes on
            _logger.exception("run %s", self.run.path)
            self._reject(items, pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")
            await self.log.start_over()
        self._reductions.written(self._reducing, size_bytes)

    async def _record(self, items: deque[Item]) -> None:
        now = asyncio.get_running_loop().time()
        works = [work for item in items for work in self._works_of(item)]
        works += [Work(joined, has_left=True) for joined in self._members.lost(now)]
        outcomes = await self.log.record(works, is_brief=is_brief(items))
        if outcomes is None:
            refusal = self.run.refusal
            self._reject(items, pb.RUN_REFUSED, refusal.message if refusal is not None else "")
            return
        await self.log.emit()
        for item in items:
            if isinstance(item, RelayedItem):
                item.answer(self._position(item))
        items.clear()
        for outcome in outcomes:
            self._return(outcome)

    async def _go_on(self) -> None:
        """What is to be done whether or not anybody logs."""
        now = asyncio.get_running_loop().time()
        if self.log.can_catch_up:
            await self.log.catch_up()
        await self.log.release(now)

    def _position(self, item: RelayedItem) -> int:
        return self.run.contents.marks.sequence(item.batch.producer)

    def _works_of(self, item: Item) -> Sequence[AnyWork]:
        if not isinstance(item, RelayedItem):
            return [self._work_of(item)]
        is_next = position_after(item.batch, self._position(item)) is not None
        return item.works if is_next else []

    def _work_of(self, item: Item) -> Work:
        if isinstance(item, Presence):
            return Work(item.asked, has_left=item.has_left, absent=self._members.absent())
        if isinstance(item, ReducedSummary):
            result = item.result
            if not isinstance(result, (SharedSummary, SummaryError)):
                raise TypeError(f"no share of a point: {result!r}")
            return Work(self._members.asked(item.part), item.part, result)
        if not isinstance(item, RunPart):
            raise TypeError(f"no work: {item!r}")
        # An end that the client has not logged is the daemon's, which leaves.
        is_end = isinstance(item, EndPart) and (item.sequence > 0 or not self.is_draining)
        has_left = is_end and self._members.has_left(item)
        return Work(self._members.asked(item), item, has_left=has_left)

    def _return(self, outcome: Outcome) -> None:
        part = outcome.part
        if outcome.error is not None:
            self._outcomes.reject(part, outcome.error.reason, str(outcome.error))
            return
        for left_out in outcome.refused:
            rejected = part.split_off(left_out.sequence, left_out.records, left_out.last_sequence)
            self._outcomes.reject(rejected, left_out.reason, left_out.message)
        if isinstance(part, DropPart):
            self.log.output.tell_drops(part)
        self._outcomes.finish(part, 0, outcome.duplicates)

    def _reject(self, items: deque[Item], reason: int, message: str) -> None:
        while items:
            item = items.popleft()
            if isinstance(item, Sync):
                item.answer(SyncResult(ok=False, reason=message))
            elif isinstance(item, RelayedItem):
                item.refuse(message)
            elif isinstance(item, ReducedSummary):
                self._outcomes.reject(item.part, reason, message)
            elif isinstance(item, RunPart):
                self._outcomes.reject(item, reason, message)
