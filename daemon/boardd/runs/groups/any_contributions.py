"""What members log here, is lost here, and other daemons pass on, as entries of one journal."""

from __future__ import annotations

from collections.abc import Sequence

from boardd.core.groups.entries import Entry
from boardd.core.groups.group import Group
from boardd.core.runs.run_state import RunState
from boardd.runs.groups.group_contributions import Contributions
from boardd.runs.groups.relayed_contributions import RelayedContributions
from boardd.runs.journal.journal import JournalRecord
from boardd.runs.writing.group_work import AnyWork, LossWork, Outcome, RelayedWork, Work


class AnyContributions:
    """``Contributions`` and ``RelayedContributions`` to ``group``, by the kind of work."""

    def __init__(self, run: RunState, group: Group) -> None:
        self._own = Contributions(run, group)
        self._relayed = RelayedContributions(run, group)

    def is_barrier(self, work: AnyWork) -> bool:
        """Whether all before ``work`` must have been applied."""
        if isinstance(work, RelayedWork):
            return self._relayed.is_barrier(work)
        return isinstance(work, Work) and self._own.is_barrier(work)

    def needed(self, work: AnyWork) -> Sequence[Entry]:
        """Returns entries that must be applied before ``work`` is taken; empty: it can be.

        To be called anew after they were.
        """
        if isinstance(work, RelayedWork):
            return self._relayed.needed(work)
        return self._own.needed(work) if isinstance(work, Work) else []

    def take_plain(self, work: AnyWork) -> tuple[list[JournalRecord], Outcome | None] | None:
        """As ``take``, of what needs nothing, is no barrier and is wholly new; else None."""
        return self._own.take_plain(work) if isinstance(work, Work) else None

    def take(self, work: AnyWork) -> tuple[list[JournalRecord], Outcome | None]:
        """Returns the entries of ``work``, and what becomes of its part, if it has one."""
        if isinstance(work, RelayedWork):
            return self._relayed.take(work), None
        if isinstance(work, LossWork):
            dropped = work.dropped
            return [JournalRecord(dropped, dropped.source, dropped.total)], None
        return self._own.take(work)
