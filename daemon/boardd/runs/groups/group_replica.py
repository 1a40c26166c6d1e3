"""A group as its journal tells it, and what it shows after each entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from boardd.core.groups.entries import Dropped, Entry, Rewound, State, Tags
from boardd.core.groups.group import Group
from boardd.runs.groups.group_points import OWN_TAGS, DropRow, RewindRow, Row, rows_of

_DEFAULT_REDUCTION: Final = "mean"


class GroupReplica:
    """What the entries applied so far make of ``group``, from the journal's first on."""

    def __init__(self, group: Group) -> None:
        self.group = group
        #: The group's own tags, and then its ranks'.
        self.tag_names: list[bytes] = list(OWN_TAGS)
        self._reductions: list[str] = []

    @property
    def group_id(self) -> bytes:
        """The group's id; empty before it has begun."""
        return self.group.group_id or b""

    @property
    def last_sequence(self) -> int:
        """The last emission that was decided; 0 before the first."""
        return self.group.next_sequence - 1

    def apply(self, entry: Entry, now: float) -> list[Row]:
        """Changes the group as ``entry`` says; returns what is to be shown of it."""
        if isinstance(entry, Dropped):  # which is nothing to the points
            is_shown = not self.group.is_forwarded
            return [DropRow(self.group.next_sequence, entry)] if is_shown else []
        points = self.group.apply(entry, now)
        if isinstance(entry, State):
            self._take_tags(entry.tags)
        elif isinstance(entry, Tags):
            self._take_tags(entry)
        elif isinstance(entry, Rewound):
            sequence, series = self.group.next_sequence, self.group.series_of(entry.session)
            return [RewindRow(sequence, entry.step, series, is_merged=not entry.is_own)]
        return [row for point in points for row in rows_of(point, self._reductions)]

    def apply_together(self, entries: Sequence[Entry], now: float) -> bool:
        """See ``Group``."""
        return self.group.apply_together(entries, now)

    def _take_tags(self, entry: Tags) -> None:
        del self.tag_names[len(OWN_TAGS) + entry.first :]
        del self._reductions[entry.first :]
        self.tag_names += [tag.name for tag in entry.tags]
        self._reductions += [tag.reduce or _DEFAULT_REDUCTION for tag in entry.tags]
