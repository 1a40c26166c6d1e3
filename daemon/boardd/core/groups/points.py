"""What a group shows: points that are done, each with its emission sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Partial

#: The scalars that tell of the group's health, in the order of ``HealthPoints.value``.
HEALTH_TAGS: Final = (
    b"boardd/group/coverage",
    b"boardd/group/step_lag",
    b"boardd/group/late",
    b"boardd/group/arrival_spread_secs",
)
#: The tag of the table of ranks.
TABLE_TAG: Final = b"boardd/group"


@dataclass(frozen=True, eq=False)
class ScalarPoints:
    """m points of scalars, with what each of R ranks contributed.

    ``sequence``, ``step`` and ``nth`` are int64[m], ``tag`` intp[m], ``rank`` intp[R]; sequence
    and rank rise. ``value`` and ``wall_time`` are float64[R, m], ``present`` bool[R, m]: where
    it is False, the others are 0. Each point has at least one contribution.
    """

    sequence: NDArray[np.int64]
    step: NDArray[np.int64]
    nth: NDArray[np.int64]
    tag: NDArray[np.intp]
    rank: NDArray[np.intp]
    value: NDArray[np.float64]
    present: NDArray[np.bool_]
    wall_time: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SummaryPoint:
    """One point of another kind: what ``count`` ranks contributed, merged.

    ``wall_time`` is the latest of theirs.
    """

    sequence: int
    tag: int
    step: int
    nth: int
    wall_time: float
    partial: Partial
    count: int


@dataclass(frozen=True, eq=False)
class TextPoint:
    """The table of ranks, under ``TABLE_TAG``."""

    sequence: int
    step: int
    wall_time: float
    text: str


@dataclass(frozen=True, eq=False)
class HealthPoints:
    """The group's health at each of h steps, one scalar for each of ``HEALTH_TAGS``.

    ``sequence`` and ``step`` are int64[h] and rise; ``wall_time`` is float64[h], ``value``
    float64[4, h]. The sequence of ``value[i, j]`` is ``sequence[j] + i``.
    """

    sequence: NDArray[np.int64]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankScalars:
    """n scalars of one rank, shown in its own ``series`` as they were logged.

    ``sequence`` is the first one's; ``tag`` is intp[n], ``step`` int64[n], the others
    float64[n].
    """

    sequence: int
    series: str
    tag: NDArray[np.intp]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankSummary:
    """One summary of one rank, shown in its own ``series`` as it was logged."""

    sequence: int
    series: str
    tag: int
    step: int
    wall_time: float
    partial: Partial


Point = ScalarPoints | SummaryPoint | TextPoint | HealthPoints | RankScalars | RankSummary
