"""What a group's points show: rows for the event files of a run, of its minima and its maxima.

The minimum and the maximum of a point are shown if at least two ranks contributed to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Dropped
from boardd.core.groups.points import (
    HEALTH_TAGS,
    TABLE_TAG,
    HealthPoints,
    Point,
    RankScalars,
    RankSummary,
    ScalarPoints,
    SummaryPoint,
    TextPoint,
)
from boardd.core.intake.columns import SCALAR_BYTES, Columns
from boardd.partials.scalars import reduce_columns

#: What a summary costs beside its partial.
SUMMARY_BYTES: Final = 1024
#: The group's own tags come before those of its ranks.
OWN_TAGS: Final = (*HEALTH_TAGS, TABLE_TAG)


class Output(IntEnum):
    """An event file that a group writes, by the directory beneath the group's."""

    MERGED = 0
    MINIMA = 1
    MAXIMA = 2

    @property
    def sub_run(self) -> str:
        """The directory's name; empty for the group's own."""
        return ("", "min", "max")[self]


#: A series of one rank goes to the directory of that name, relative to the group's.
Place = Output | str


def directory_of(place: Place) -> str:
    """Returns a directory, relative to the group's; empty for the group's own."""
    return place.sub_run if isinstance(place, Output) else place


@dataclass(eq=False)
class ScalarRows:
    """n scalars of ``output``; ``tag``, intp[n], is that of ``EmissionTags``."""

    output: Place
    columns: Columns
    tag: NDArray[np.intp]

    @property
    def size_bytes(self) -> int:
        """Memory that it is charged for."""
        return len(self.columns) * SCALAR_BYTES


@dataclass(eq=False)
class SummaryRow:
    """A summary, or the table of ranks as ``text``."""

    sequence: int
    tag: int
    step: int
    wall_time: float
    partial: Any = None
    text: str = ""
    output: Place = Output.MERGED

    @property
    def size_bytes(self) -> int:
        """Memory that it is charged for."""
        held = len(self.text) if self.partial is None else self.partial.size_bytes
        return SUMMARY_BYTES + int(held)


@dataclass(eq=False)
class RewindRow:
    """What is shown from ``step`` on is out of date, unless ``sequence`` is written already.

    That is so of all merged points if it ``is_merged``, and of the ``series`` of a single rank.
    """

    sequence: int
    step: int
    series: str | None = None
    is_merged: bool = True
    size_bytes: int = SCALAR_BYTES


@dataclass(eq=False)
class DropRow:
    """What a host or its clients lost of the run by now. It comes before emission ``sequence``."""

    sequence: int
    dropped: Dropped

    @property
    def size_bytes(self) -> int:
        """Memory that it is charged for."""
        return SCALAR_BYTES * (1 + len(self.dropped.records))


Row = ScalarRows | SummaryRow | RewindRow | DropRow


@dataclass(eq=False)
class Emission:
    """Rows in order: all emissions from ``first`` up to ``last``, that one included."""

    first: int
    last: int
    rows: list[Row] = field(default_factory=list)
    size_bytes: int = 0

    @classmethod
    def after(cls, last: int) -> Emission:
        """Returns an empty one that begins behind the emission ``last``."""
        return cls(last + 1, last)

    def add(self, rows: Sequence[Row], last: int) -> None:
        """Adds the rows of the emissions up to ``last``."""
        self.rows += rows
        self.last = last
        self.size_bytes += sum(row.size_bytes for row in rows)


def rows_of(point: Point, reductions: Sequence[str]) -> list[Row]:
    """Returns what ``point`` shows; ``reductions`` are those of the group's tags."""
    if isinstance(point, ScalarPoints):
        return _scalar_rows(point, reductions)
    if isinstance(point, SummaryPoint):
        tag = len(OWN_TAGS) + point.tag
        return [SummaryRow(point.sequence, tag, point.step, point.wall_time, point.partial)]
    if isinstance(point, TextPoint):
        tag = OWN_TAGS.index(TABLE_TAG)
        return [SummaryRow(point.sequence, tag, point.step, point.wall_time, text=point.text)]
    if isinstance(point, RankScalars):
        return [_rank_rows(point)]
    if isinstance(point, RankSummary):
        content = (len(OWN_TAGS) + point.tag, point.step, point.wall_time, point.partial)
        return [SummaryRow(point.sequence, *content, output=point.series)]
    return [_health_rows(point)]


def _rank_rows(points: RankScalars) -> ScalarRows:
    sequence = np.arange(points.sequence, points.sequence + len(points.tag), dtype=np.uint64)
    columns = Columns(sequence, points.step, points.wall_time, points.value)
    return ScalarRows(points.series, columns, points.tag + len(OWN_TAGS))


def _health_rows(points: HealthPoints) -> ScalarRows:
    """All scalars of a step follow each other."""
    count = len(HEALTH_TAGS)
    tag = np.arange(count)
    columns = Columns(
        (points.sequence[:, None] + tag).ravel().astype(np.uint64),
        np.repeat(points.step, count),
        np.repeat(points.wall_time, count),
        np.ascontiguousarray(points.value.T).ravel(),
    )
    return ScalarRows(Output.MERGED, columns, np.tile(tag, len(points.step)))


def _scalar_rows(points: ScalarPoints, reductions: Sequence[str]) -> list[Row]:
    count = len(points.tag)
    value, low, high, wall_time = (np.empty(count) for _ in range(4))
    contributions = np.empty(count, np.int64)
    names = [reductions[tag] for tag in points.tag.tolist()]
    for name in dict.fromkeys(names):
        chosen = np.array([one == name for one in names])
        reduced = reduce_columns(
            points.value[:, chosen],
            points.present[:, chosen],
            points.wall_time[:, chosen],
            points.rank.astype(np.int64),
            name,
        )
        value[chosen], low[chosen], high[chosen] = reduced.value, reduced.min, reduced.max
        wall_time[chosen], contributions[chosen] = reduced.wall_time, reduced.count
    tag = points.tag + len(OWN_TAGS)
    merged = Columns(points.sequence.astype(np.uint64), points.step, wall_time, value)
    rows: list[Row] = [ScalarRows(Output.MERGED, merged, tag)]
    shared = contributions > 1
    if shared.any():
        for output, extreme in ((Output.MINIMA, low), (Output.MAXIMA, high)):
            columns = Columns(merged.sequence, merged.step, wall_time, extreme)
            rows.append(ScalarRows(output, columns[shared], tag[shared]))
    return rows
