"""What a group's writer takes in order: what of it is recorded, and what becomes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, EndPart, RunPart
from boardd.relay.relay import position_after
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.group_members import GroupMembers
from boardd.runs.writing.group_work import AnyWork, Outcome, SharedSummary, Work
from boardd.runs.writing.outcomes import Outcomes
from boardd.runs.writing.run_order import Item, Presence, ReducedSummary, RelayedItem, Sync
from boardd.summaries.reduction import SummaryError


class GroupItems:
    """Items of the group of ``run``, its journal. For the event loop's thread only.

    ``outcomes`` is told what becomes of parts, and ``tell_drops`` of what clients dropped.
    """

    def __init__(
        self,
        run: RunState,
        members: GroupMembers,
        outcomes: Outcomes,
        tell_drops: Callable[[DropPart], None],
    ) -> None:
        self._run = run
        self._members = members
        self._outcomes = outcomes
        self._tell_drops = tell_drops
        #: The daemon leaves: members that are ended now go on with the next one.
        self.is_draining = False

    def works(self, items: Sequence[Item]) -> Sequence[AnyWork]:
        """Returns what is to be recorded of ``items``."""
        if items and isinstance(relayed := items[0], RelayedItem):  # which is handled by itself
            is_next = position_after(relayed.batch, self._position(relayed)) is not None
            return relayed.works if is_next else []
        return [self._work_of(item) for item in items]

    def _work_of(self, item: Item) -> Work:
        if isinstance(item, Presence):
            return Work(item.asked, absent=self._members.absent())
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

    def _position(self, item: RelayedItem) -> int:
        return self._run.contents.marks.sequence(item.batch.producer)

    def recorded(self, items: deque[Item], outcomes: Sequence[Outcome]) -> None:
        """All ``items`` are in the journal, and ``outcomes`` say what became of their parts."""
        for item in items:
            if isinstance(item, RelayedItem):
                item.answer(self._position(item))
        items.clear()
        for outcome in outcomes:
            self._return(outcome)

    def _return(self, outcome: Outcome) -> None:
        part = outcome.part
        if outcome.error is not None:
            self._outcomes.reject(part, outcome.error.reason, str(outcome.error))
            return
        for left_out in outcome.refused:
            rejected = part.split_off(left_out.sequence, left_out.records, left_out.last_sequence)
            self._outcomes.reject(rejected, left_out.reason, left_out.message)
        if isinstance(part, DropPart):
            self._tell_drops(part)
        self._run.progress.written += part.records - outcome.duplicates
        self._outcomes.finish(part, 0, outcome.duplicates)

    def reject(self, items: deque[Item], reason: int, message: str) -> None:
        """None of ``items`` can be recorded."""
        while items:
            item = items.popleft()
            if isinstance(item, Sync):
                item.answer(SyncResult(ok=False, reason=message))
            elif isinstance(item, RelayedItem):
                item.refuse(message)
            elif isinstance(item, Presence):
                self._members.forget(item.asked.session)
            elif isinstance(item, ReducedSummary):
                self._outcomes.reject(item.part, reason, message)
            elif isinstance(item, RunPart):
                self._outcomes.reject(item, reason, message)
