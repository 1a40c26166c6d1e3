"""What a group's journal is asked to record, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boardd.core.groups.entries import Joined
from boardd.core.session.batch import RunPart
from boardd.runs.encode import RefusedRecords
from boardd.summaries.reduction import SummaryError


@dataclass(frozen=True, eq=False)
class SharedSummary:
    """What one rank contributes to a point: a partial of ``kind``."""

    kind: str
    partial: Any

    @property
    def size_bytes(self) -> int:
        """Memory that it holds."""
        return int(self.partial.size_bytes)


@dataclass(frozen=True, eq=False)
class Work:
    """A part of a member, ``asked``; without a part: the member is there, or has left.

    ``result`` is what a summary was reduced to, or why it cannot be.
    """

    asked: Joined
    part: RunPart | None = None
    result: SharedSummary | SummaryError | None = None
    has_left: bool = False


@dataclass(eq=False)
class Outcome:
    """What became of a part, as ``Outcomes`` tells it."""

    part: RunPart
    duplicates: int = 0
    error: SummaryError | None = None
    refused: list[RefusedRecords] = field(default_factory=list)
