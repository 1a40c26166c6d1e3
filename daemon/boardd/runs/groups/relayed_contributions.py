"""From entries of another daemon's journal to the entries of this one that hold them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Dropped, Entry, Left, Rewound, Scalars, Summary, Tag
from boardd.core.groups.group import Group
from boardd.core.runs.run_state import RunState
from boardd.runs.journal.journal import JournalRecord
from boardd.runs.writing.group_work import RelayedWork

_logger = logging.getLogger(__name__)


class RelayedContributions:
    """What producers contribute to ``group``, whose journal ``run`` is.

    An entry that the journal holds already, as the mark of its producer says, is passed over.
    What is contributed to a tag that is another kind here is left out, and counted in the run's
    contents.
    """

    def __init__(self, run: RunState, group: Group) -> None:
        self._run = run
        self._group = group

    def is_barrier(self, work: RelayedWork) -> bool:
        """Whether all before ``work`` must have been applied."""
        return not isinstance(work.entry, (Scalars, Summary))

    def needed(self, work: RelayedWork) -> Sequence[Entry]:
        """As ``Contributions.needed``."""
        entry = work.entry
        if self._is_known(work) or work.asked is None or isinstance(entry, Left):
            return []
        if entries := self._group.admit(work.asked):
            return entries
        if not isinstance(entry, (Scalars, Summary)):
            return []
        if tags := self._group.new_tags([work.tags[index] for index in _tags_of(entry)]):
            return [tags]
        tag, step = self._columns(work, entry)
        fits = tag >= 0
        return self._group.rewind(work.asked.session, tag[fits], step[fits]) if fits.any() else []

    def take(self, work: RelayedWork) -> list[JournalRecord]:
        """Returns the entries of ``work``; the last one bears the mark of its producer."""
        if self._is_known(work):
            return []
        entries = self._entries(work) or [self._group.no_tags()]
        records = [JournalRecord(entry) for entry in entries[:-1]]
        return [*records, JournalRecord(entries[-1], work.producer, work.mark)]

    def _is_known(self, work: RelayedWork) -> bool:
        return work.mark <= self._run.contents.marks.sequence(work.producer)

    def _entries(self, work: RelayedWork) -> list[Entry]:
        entry = work.entry
        if isinstance(entry, Left):
            return self._group.leave(entry.session)
        if isinstance(entry, Rewound):
            return self._rewinds(entry)
        if isinstance(entry, Dropped):
            return [entry]
        if isinstance(entry, Scalars):
            return self._scalars(work, entry)
        if isinstance(entry, Summary):
            tag, _ = self._columns(work, entry)
            self._count_conflicts(work, entry, tag)
            return [replace(entry, tag=int(tag[0]))] if tag[0] >= 0 else []
        return []

    def _rewinds(self, entry: Rewound) -> list[Entry]:
        """A rank purges. The group rewinds once for all of them, and each series for its rank."""
        if not entry.session:
            return []
        entries = self._group.purge(entry.session, entry.step)
        return entries or self._group.rewind_series(entry.session, entry.step)

    def _scalars(self, work: RelayedWork, entry: Scalars) -> list[Entry]:
        tag, _ = self._columns(work, entry)
        fits = tag >= 0
        self._count_conflicts(work, entry, tag)
        if not fits.any():
            return []
        if fits.all():
            return [replace(entry, tag=tag)]
        step, wall_time, value = entry.step[fits], entry.wall_time[fits], entry.value[fits]
        return [Scalars(entry.session, tag[fits], step, wall_time, value)]

    def _count_conflicts(
        self, work: RelayedWork, entry: Scalars | Summary, own: NDArray[np.intp]
    ) -> None:
        if (own >= 0).all():
            return
        conflicts = self._run.contents.kind_conflicts
        for index in np.atleast_1d(entry.tag)[own < 0].tolist():
            tag = work.tags[index]
            if tag.name not in conflicts:
                why = self._group.check_tag(tag)
                _logger.warning("run %s: values of another host: %s", self._run.group, why)
            conflicts[tag.name] = conflicts.get(tag.name, 0) + 1

    def _columns(
        self, work: RelayedWork, entry: Scalars | Summary
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """This group's tag of each contribution, -1 if it is another kind here; and the steps."""
        if isinstance(entry, Summary):
            one = self._index(work.tags[entry.tag])
            return np.array([one], np.intp), np.array([entry.step], np.int64)
        distinct = np.unique(entry.tag)
        own = np.array([self._index(work.tags[index]) for index in distinct.tolist()], np.intp)
        return own[np.searchsorted(distinct, entry.tag)], entry.step

    def _index(self, tag: Tag) -> int:
        index = self._group.tag_index(tag.name)
        return -1 if index is None or self._group.check_tag(tag) is not None else index


def _tags_of(entry: Scalars | Summary) -> list[int]:
    return [entry.tag] if isinstance(entry, Summary) else np.unique(entry.tag).tolist()
