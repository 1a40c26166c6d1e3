"""Writes the journal of one group of ranks, and hands its points on to their files.

The counterpart of ``RunWriter`` for a run that is merged. A record counts as written once
its contribution is in the journal, whatever other ranks do. ``core.groups`` decides which
points are done; ``group_recorder`` has everything in the journal before it counts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.runs.run_state import Holder, Member, Runs, RunState
from boardd.core.session.batch import DropPart, EndPart, PurgePart, RunPart, ScalarPart, SummaryPart
from boardd.relay.relay import Batch
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.gathered_reductions import GatheredReductions
from boardd.runs.groups.group_items import GroupItems
from boardd.runs.groups.group_log import RELEASE_SECS, GroupLog
from boardd.runs.groups.group_members import GroupMembers
from boardd.runs.groups.writer_life import TABLE, Event, State
from boardd.runs.writing.group_work import RelayedWork, Work
from boardd.runs.writing.outcomes import Outcomes
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool
from boardd.runs.writing.run_order import (
    Items,
    Presence,
    ReducedSummary,
    RelayedItem,
    RunOrder,
    Sync,
)
from boardd.summaries.environment_faults import is_environment_fault

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
        self._runs = runs
        self._members = members
        self._outcomes = outcomes
        self._items = GroupItems(run, members, outcomes, log.output.tell_drops)
        self._reductions = GatheredReductions(reductions, self._take_results)
        self._on_idle = on_idle
        self._order = RunOrder()
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
        if self._members.may_have_newcomers(parts):
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
            self._reductions.add(summaries)

    async def relay(self, batch: Batch, works: Sequence[RelayedWork]) -> int:
        """Waits until ``works``, a batch's, are in the journal. Returns its producer's position.

        Raises ``RelayError``.
        """
        loop = asyncio.get_running_loop()
        self._members.hosts.heard(batch.producer, loop.time())
        done: asyncio.Future[int] = loop.create_future()
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
        self._items.is_draining = True
        self._order.wake()

    def abandon(self) -> None:
        """Stops without waiting; for a daemon that must leave now."""
        self.log.abandon()
        self._reductions.close()
        self.task.cancel()

    def _take_results(self, results: list[Reduced]) -> None:
        for ticket, part, result in results:
            part.payload, part.tensors, part.maps = b"", {}, None
            reduced = ReducedSummary(part, result)
            self._outcomes.recharge(part, reduced.charged_bytes)
            self._order.complete(ticket, reduced)

    # The task

    async def _work(self) -> None:
        acts = {
            State.OPENING: self._open,
            State.RECORDING: self._record_all,
            State.ENDING: self._end,
            State.SHUT: self._reject_all,
            State.LEAVING: self._leave,
        }
        state = State.OPENING
        try:
            while state is not State.OVER:
                try:
                    event = await acts[state]()
                except Exception as error:
                    if is_environment_fault(error):
                        await self._reductions.environment.hold_up(error)
                    # A defect: this group suffers, the daemon goes on.
                    while self._order.ready:
                        self._reject(self._order.take(), pb.REDUCTION_FAILED, _defect(error))
                    await self._start_over(error)
                    event = Event.FAILED
                state = TABLE[state][event]
        finally:
            self.log.output.leave()
            self._runs.leave_run(self.run, HOLDER)
            self._on_idle(self)

    async def _open(self) -> Event:
        if not await self.log.files.open():
            return Event.REFUSED
        group, now = self.log.group, asyncio.get_running_loop().time()
        self._members.restored(group, now)
        await self.log.emit()
        return Event.OPENED

    async def _record_all(self) -> Event:
        while not self._may_close():
            await self._wait()
            items = self._order.take() if self._order.ready else Items()
            if not await self._advance(items):
                return Event.FAILED
            if not self.log.files.is_open:
                return Event.REFUSED
        return Event.SETTLED

    async def _end(self) -> Event:
        """Closes all files, unless there is more to write by now."""
        await self._close_output()
        if not self._is_asked:
            await self.log.files.close()
        if self._is_asked:
            return Event.ASKED
        return Event.CLOSED

    async def _reject_all(self) -> Event:
        """Rejects what comes, until nothing is left or the run is not refused any more."""
        while len(self._order):
            if not self._order.ready:
                await self._order.wait()
            elif self.run.refusal is None:
                return Event.ASKED
            else:
                self._reject(self._order.take(), pb.RUN_REFUSED, self.run.refusal.message)
        return Event.IDLE

    async def _leave(self) -> Event:
        """Closes the files of the points, of which the journal may still have some."""
        await self._close_output()
        return Event.ASKED if len(self._order) else Event.CLOSED

    async def _close_output(self) -> None:
        self.log.output.end()
        while not self.log.output.is_idle:
            await self._order.wait()

    @property
    def _is_asked(self) -> bool:
        return bool(len(self._order) or self.run.holders)

    @property
    def is_over(self) -> bool:
        """Whether all ranks have left, and nothing is waited for."""
        group = self.log.group
        return group.group_id is None or group.is_over(asyncio.get_running_loop().time())

    def _may_close(self) -> bool:
        if self._is_asked or not self.log.is_settled:
            return False
        return self._items.is_draining or self.is_over

    async def _wait(self) -> None:
        """Waits for the next item, or until time alone changes something."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.log.note_progress(now)
        if self._order.ready or self.log.can_catch_up:
            return
        group = self.log.group
        due = group.next_due(now)
        times = (math.inf if due is None else due, self._members.deadline, now + RELEASE_SECS)
        until = max(now, min(times))
        timer = loop.call_at(until, self._order.wake)
        try:
            await self._order.wait()
        finally:
            timer.cancel()

    async def _advance(self, items: Items) -> bool:
        """Goes on with ``items``; returns False if a defect of the daemon came in between."""
        try:
            if items and isinstance(items[0], Sync):
                items[0].answer(await self.log.files.sync())
            else:
                await self._record(items)
                if self.log.files.is_open:
                    await self._go_on()
        except Exception as error:
            if is_environment_fault(error):
                raise
            # A defect: these records suffer, the daemon goes on.
            self._items.reject(items, pb.REDUCTION_FAILED, _defect(error))
            await self._start_over(error)
            return False
        finally:
            self._reductions.written(items.reduced_bytes)
        return True

    def _reject(self, items: Items, reason: int, message: str) -> None:
        """None of ``items``, which were just taken, can be recorded."""
        self._items.reject(items, reason, message)
        self._reductions.written(items.reduced_bytes)

    async def _start_over(self, error: Exception) -> None:
        _logger.error("run %s", self.run.path, exc_info=error)
        await self.log.start_over()

    async def _record(self, items: Items) -> None:
        works = self._items.works(items)  # first, as who is heard of there is not lost
        now = asyncio.get_running_loop().time()
        lost = [Work(joined, has_left=True) for joined in self._members.lost(self.log.group, now)]
        works = [*works, *lost] if lost else works
        outcomes = await self.log.record(works, is_brief=items.is_brief)
        if outcomes is None:
            refusal = self.run.refusal
            self._items.reject(
                items, pb.RUN_REFUSED, refusal.message if refusal is not None else ""
            )
            return
        await self.log.emit()
        self._items.recorded(items, outcomes)

    async def _go_on(self) -> None:
        """What is to be done whether or not anybody logs."""
        now = asyncio.get_running_loop().time()
        if self.log.can_catch_up:
            await self.log.catch_up()
        await self.log.release(now)


def _defect(error: Exception) -> str:
    return f"defect of the daemon: {error!r}"
