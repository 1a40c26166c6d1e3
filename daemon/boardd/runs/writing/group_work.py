"""What a group's journal is asked to record, and what becomes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from boardd.core.groups.entries import Dropped, Joined, Tag
from boardd.core.session.batch import RunPart
from boardd.runs.journal.relayed_entries import Relayed
from boardd.runs.writing.encode import RefusedRecords
from boardd.summaries.reduction import SummaryError

#: How often one work may need something before it: the group, its member, tags, a rewind.
MAX_ROUNDS: Final = 16


@dataclass(eq=False, slots=True)
class SharedSummary:
    """What one rank contributes to a point: a partial of ``kind``."""

    kind: str
    partial: Any

    @property
    def size_bytes(self) -> int:
        """Memory that it holds."""
        return int(self.partial.size_bytes)


@dataclass(eq=False, slots=True)
class Work:
    """A part of a member, ``asked``; without a part: the member is there, or has left.

    ``result`` is what a summary was reduced to, or why it cannot be. Of the members that are
    ``absent``, nothing says that they live.
    """

    asked: Joined
    part: RunPart | None = None
    result: SharedSummary | SummaryError | None = None
    has_left: bool = False
    absent: frozenset[bytes] = frozenset()


@dataclass(frozen=True, eq=False)
class RelayedWork:
    """Entry ``number`` of ``producer``'s journal, with what it names.

    ``asked`` is the member that it is of; None: a rewind that nobody asked for, or lost records.
    """

    producer: bytes
    number: int
    entry: Relayed
    asked: Joined | None
    tags: Mapping[int, Tag]

    @property
    def mark(self) -> int:
        """The sequence of the entry in marks, where 0 means nothing."""
        return self.number + 1


@dataclass(frozen=True, eq=False)
class LossWork:
    """What this host has rejected of the run by now. It is of no member."""

    dropped: Dropped
    asked: None = None


AnyWork = Work | RelayedWork | LossWork


@dataclass(eq=False)
class Outcome:
    """What became of a part, as ``Outcomes`` tells it."""

    part: RunPart
    duplicates: int = 0
    error: SummaryError | None = None
    refused: list[RefusedRecords] = field(default_factory=list)


class WorkQueue:
    """Works that are still to be recorded, and what became of those before them."""

    def __init__(self) -> None:
        self.works: deque[AnyWork] = deque()
        self._outcomes: list[Outcome] = []
        self._rounds = 0

    def count_round(self) -> None:
        """The first work needs something before it. Raises ``RuntimeError`` if that never ends."""
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise RuntimeError(f"a group that always needs more before {self.works[0]!r}")

    def done(self, outcome: Outcome | None) -> None:
        """The first work is taken."""
        self.works.popleft()
        self._rounds = 0
        if outcome is not None:
            self._outcomes.append(outcome)

    def take_outcomes(self) -> list[Outcome]:
        """Returns what became of works since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes
