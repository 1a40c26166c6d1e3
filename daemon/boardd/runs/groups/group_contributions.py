"""From the parts of a group's members to the entries that hold them."""

from __future__ import annotations

from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.groups.entries import SCALAR, Dropped, Entry, Joined, Scalars, Summary, Tag
from boardd.core.groups.group import Group
from boardd.core.runs.marks import drops_key, purge_key
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, PurgePart, ScalarPart, SummaryPart
from boardd.runs.journal.journal import JournalRecord
from boardd.runs.writing.encode import RefusedRecords
from boardd.runs.writing.group_work import Outcome, SharedSummary, Work
from boardd.summaries.reduction import SummaryError

_UNKNOWN: Final = -1
_REFUSED: Final = -2
_DEFAULT_REDUCTION: Final = "mean"


class Contributions:
    """The contributions to ``group`` that the parts of ``run``, its journal's, make.

    Records that the journal holds already, as its marks say, are duplicates.
    """

    def __init__(self, run: RunState, group: Group) -> None:
        self._run = run
        self._group = group
        #: By the run's tags, the group's index of those that are scalars.
        self._scalar_tags = np.full(16, _UNKNOWN, np.intp)
        #: Members that ``admit`` has nothing to say of, as they logged then; and when that was.
        self._admitted: dict[bytes, Joined] = {}
        self._admitted_at = -1
        #: The last tags, and the group's index of each.
        self._last_tags: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
        #: By the run's tag and the kind, the group's index of tags that are no scalars.
        self._summary_tags: dict[tuple[int, str], int] = {}

    def is_barrier(self, work: Work) -> bool:
        """Whether all before ``work`` must have been applied."""
        return work.has_left or isinstance(work.part, PurgePart)

    def needed(self, work: Work) -> list[Entry]:
        """Returns entries that must be applied before ``work`` is taken; empty: it can be.

        To be called anew after they were.
        """
        if work.has_left or isinstance(work.result, SummaryError):
            return []
        if entries := self._group.admit(work.asked, work.absent):
            return entries
        part = work.part
        if isinstance(part, ScalarPart):
            written = self._written(work)
            fresh = part.columns.sequence > written
            if not fresh.any():
                return []
            if tags := self._group.new_tags(self._new_scalar_tags(part.tag_index)):
                return [tags]
            fresh &= self._scalar_tags[part.tag_index] >= 0
            tag, step = self._scalar_tags[part.tag_index[fresh]], part.columns.step[fresh]
            return self._group.rewind(work.asked.session, tag, step)
        if isinstance(part, SummaryPart) and isinstance(work.result, SharedSummary):
            if part.sequence <= self._written(work):
                return []
            tag = self._tag(part.tag, work.result.kind)
            if self._group.check_tag(tag) is not None:
                return []
            if tags := self._group.new_tags([tag]):
                return [tags]
            index = np.array([self._group.tag_index(tag.name)], np.intp)
            return self._group.rewind(work.asked.session, index, np.array([part.step]))
        return []

    def take_plain(self, work: Work) -> tuple[list[JournalRecord], Outcome | None] | None:
        """As ``take``, of what needs nothing, is no barrier and is wholly new; else None.

        Most is: a step is much like the last, and what was looked up then is kept.
        """
        part = work.part
        if work.has_left or self._group.may_rewind or not self._is_admitted(work):
            return None
        if isinstance(part, ScalarPart):
            return self._plain_scalars(work.asked.session, part, self._written(work))
        result = work.result
        if not isinstance(part, SummaryPart) or not isinstance(result, SharedSummary):
            return None
        index = self._summary_index(part.tag, result.kind)
        if index is None or part.sequence <= self._written(work):
            return None
        session = work.asked.session
        entry = Summary(session, index, part.step, part.wall_time, result.partial)
        return [JournalRecord(entry, session, part.sequence)], Outcome(part)

    def _is_admitted(self, work: Work) -> bool:
        if self._admitted_at != self._group.changes:
            self._admitted.clear()
            self._admitted_at = self._group.changes
        asked = work.asked
        if self._admitted.get(asked.session) is asked:
            return True
        if not self._group.group_id or self._group.admit(asked, work.absent):
            return False
        self._admitted[asked.session] = asked
        return True

    def _plain_scalars(
        self, session: bytes, part: ScalarPart, written: int
    ) -> tuple[list[JournalRecord], Outcome | None] | None:
        columns, tag = part.columns, self._known_tags(part.tag_index)
        if tag is None or int(columns.sequence[0]) <= written:
            return None
        entry = Scalars(
            session,
            tag,
            np.ascontiguousarray(columns.step),
            np.ascontiguousarray(columns.wall_time),
            np.ascontiguousarray(columns.value),
        )
        return [JournalRecord(entry, session, int(columns.sequence[-1]))], Outcome(part)

    def _known_tags(self, tag_index: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """The group's index of each; None if any is new or refused."""
        if self._last_tags is not None:
            last, tag = self._last_tags
            if len(last) == len(tag_index) and bool((last == tag_index).all()):
                return tag
        self._grow(int(tag_index.max()) + 1)
        known: NDArray[np.intp] = self._scalar_tags[tag_index]
        if (known < 0).any():
            return None
        known.flags.writeable = False
        self._last_tags = tag_index.copy(), known
        return known

    def _summary_index(self, tag: int, kind: str) -> int | None:
        """The group's index; None if the tag is new, or another kind."""
        index = self._summary_tags.get((tag, kind))
        if index is None:
            wanted = self._tag(tag, kind)
            index = self._group.tag_index(wanted.name)
            if index is None or self._group.check_tag(wanted) is not None:
                return None
            self._summary_tags[tag, kind] = index
        return index

    def take(self, work: Work) -> tuple[list[JournalRecord], Outcome | None]:
        """Returns the entries of ``work``, and what becomes of its part."""
        part, session = work.part, work.asked.session
        if work.has_left:
            self._run.contents.marks.end(session)
            records = [JournalRecord(entry) for entry in self._group.leave(session)]
            return records, None if part is None else Outcome(part)
        if isinstance(part, ScalarPart):
            return self._take_scalars(work, part)
        if isinstance(part, SummaryPart):
            return self._take_summary(work, part)
        if isinstance(part, PurgePart):
            return self._purge(session, part), Outcome(part)
        if isinstance(part, DropPart) and self._group.is_forwarded:
            return _dropped(part, self._run), Outcome(part)
        return [], None if part is None else Outcome(part)

    def _purge(self, session: bytes, part: PurgePart) -> list[JournalRecord]:
        """A client asks again after a restart; what it has logged since is to stay."""
        key = purge_key(session)
        if part.epoch <= self._run.contents.marks.sequence(key):
            return []
        # Nothing may be changed by it, and that it was asked for is to be known all the same.
        entries = self._group.purge(session, part.step)
        mark = JournalRecord(self._group.no_tags(), key, part.epoch)
        return [*(JournalRecord(entry) for entry in entries), mark]

    def _written(self, work: Work) -> int:
        return self._run.contents.marks.sequence(work.asked.session)

    # Scalars

    def _take_scalars(
        self, work: Work, part: ScalarPart
    ) -> tuple[list[JournalRecord], Outcome | None]:
        columns, session = part.columns, work.asked.session
        self._grow(int(part.tag_index.max()) + 1)
        tag = self._scalar_tags[part.tag_index]
        is_fresh = columns.sequence > self._written(work)
        outcome = Outcome(part, duplicates=int(len(tag) - np.count_nonzero(is_fresh)))
        is_refused = tag == _REFUSED
        if is_refused.any():
            outcome.refused = self._refused(part, is_refused)
        chosen = is_fresh & ~is_refused
        if not chosen.any():
            return [], outcome
        if not chosen.all():
            columns, tag = columns[chosen], tag[chosen]
        entry = Scalars(
            session,
            tag,
            np.ascontiguousarray(columns.step),
            np.ascontiguousarray(columns.wall_time),
            np.ascontiguousarray(columns.value),
        )
        return [JournalRecord(entry, session, int(columns.sequence[-1]))], outcome

    def _new_scalar_tags(self, tag_index: NDArray[np.intp]) -> list[Tag]:
        """The tags that the group does not have; the others are looked up."""
        self._grow(int(tag_index.max()) + 1)
        if (self._scalar_tags[tag_index] != _UNKNOWN).all():
            return []
        new = []
        for index in np.unique(tag_index[self._scalar_tags[tag_index] == _UNKNOWN]).tolist():
            tag = self._tag(index, SCALAR)
            known = self._group.tag_index(tag.name)
            if known is None:
                new.append(tag)
            elif self._group.check_tag(tag) is not None:
                self._scalar_tags[index] = _REFUSED
            else:
                self._scalar_tags[index] = known
        return new

    def _refused(self, part: ScalarPart, is_refused: NDArray[np.bool_]) -> list[RefusedRecords]:
        """The refused scalars, one entry for each tag."""
        index, sequence = part.tag_index[is_refused], part.columns.sequence[is_refused]
        refused = []
        for tag in np.unique(index).tolist():
            of_tag = sequence[index == tag]
            why = self._group.check_tag(self._tag(tag, SCALAR)) or ""
            refused.append(
                RefusedRecords(int(of_tag[0]), len(of_tag), pb.INVALID_NAME, why, int(of_tag[-1]))
            )
        return refused

    # Summaries

    def _take_summary(
        self, work: Work, part: SummaryPart
    ) -> tuple[list[JournalRecord], Outcome | None]:
        result = work.result
        if not isinstance(result, SharedSummary):
            return [], Outcome(part, error=result)
        tag = self._tag(part.tag, result.kind)
        conflict = self._group.check_tag(tag)
        if conflict is not None:
            return [], Outcome(part, error=SummaryError(pb.INVALID_NAME, conflict))
        if part.sequence <= self._written(work):
            return [], Outcome(part, duplicates=1)
        index = self._group.tag_index(tag.name)
        if index is None:
            raise AssertionError(f"tag {tag.name!r} was not added")
        session = work.asked.session
        entry = Summary(session, index, part.step, part.wall_time, result.partial)
        return [JournalRecord(entry, session, part.sequence)], Outcome(part)

    def _tag(self, index: int, kind: str) -> Tag:
        reduction = self._run.reductions[index] or _DEFAULT_REDUCTION
        return Tag(self._run.tags[index], kind, reduction)

    def _grow(self, length: int) -> None:
        if length > len(self._scalar_tags):
            grown = np.full(max(length, 2 * len(self._scalar_tags)), _UNKNOWN, np.intp)
            grown[: len(self._scalar_tags)] = self._scalar_tags
            self._scalar_tags = grown


def _dropped(part: DropPart, run: RunState) -> list[JournalRecord]:
    """What a client dropped is told where the points are made, if ``run`` has not told it yet."""
    key = drops_key(part.session_id)
    entry = Dropped(key, part.dropped, part.step, part.wall_time)
    is_told = entry.total <= run.contents.marks.sequence(key)
    return [] if is_told else [JournalRecord(entry, key, entry.total)]
