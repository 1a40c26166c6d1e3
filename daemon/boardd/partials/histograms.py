"""Histograms that merge: over given edges, and over a grid that the values choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.limits import MAX_BINS

from boardd.partials.exact_array import ExactArray
from boardd.partials.exact_sum import ZERO, ExactSum, FloatSum
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth
from boardd.reduce.histogram.exact_moments import ExactMoments, exact_moments
from boardd.reduce.histogram.grid import Grid, count_grid, grid_range
from boardd.reduce.histogram.histogram import count_edges

#: The most buckets of a grid that is kept for a rule to choose from.
RULE_BUCKETS: Final = 4096

_EMPTY: Final[npt.NDArray[np.int64]] = np.zeros(0, np.int64)
_EMPTY.flags.writeable = False


@dataclasses.dataclass(slots=True)
class Moments:
    """Number, range and sums of values; exact, but for the rounding of each square.

    ``num``, ``min``, ``max`` and the sums are of the finite values; ``min`` and ``max`` are 0
    if there are none. ``squares`` sums up the squares, each rounded to float64, but the
    ``square_overflow_count`` that overflow it.
    """

    num: int = 0
    min: float = 0.0
    max: float = 0.0
    sum: ExactSum = ZERO
    squares: ExactSum = ZERO
    square_overflow_count: int = 0
    nan_count: int = 0
    positive_infinity_count: int = 0
    negative_infinity_count: int = 0

    @classmethod
    def of(cls, found: ExactMoments) -> Moments:
        """Returns the moments that were found of some values."""
        return cls(
            found.num,
            found.min,
            found.max,
            ExactSum(found.sum_units),
            ExactSum(found.square_sum_units),
            found.square_overflow_count,
            found.nan_count,
            found.positive_infinity_count,
            found.negative_infinity_count,
        )

    def merge(self, *others: Moments) -> Moments:
        """Returns the moments of the values of all."""
        parts = (self, *others)
        filled = [part for part in parts if part.num]
        return Moments(
            sum(part.num for part in parts),
            min((part.min for part in filled), default=0.0),
            max((part.max for part in filled), default=0.0),
            ExactSum(sum(part.sum.units for part in parts)),
            ExactSum(sum(part.squares.units for part in parts)),
            sum(part.square_overflow_count for part in parts),
            sum(part.nan_count for part in parts),
            sum(part.positive_infinity_count for part in parts),
            sum(part.negative_infinity_count for part in parts),
        )

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return 128 + self.sum.size_bytes + self.squares.size_bytes


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EdgesHistogram:
    """Counts between given edges; values outside of all are in the moments alone.

    ``counts`` is int64[n] for the n + 1 edges.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    moments: Moments

    @property
    def form(self) -> tuple[Any, ...]:
        """The edges."""
        return (self.edges.tobytes(),)

    def merge(self, *others: EdgesHistogram) -> EdgesHistogram:
        """Returns the histogram of the values of all."""
        counts = self.counts.copy()
        for other in others:
            counts += other.counts
        counts.flags.writeable = False
        moments = self.moments.merge(*(other.moments for other in others))
        return EdgesHistogram(self.edges, counts, moments)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about; edges are mostly shared with others."""
        return self.counts.nbytes + self.moments.size_bytes


@dataclasses.dataclass(slots=True, eq=False)
class GridHistogram:
    """Counts in buckets of a power of two, see ``reduce.histogram.grid``.

    ``bins`` is the number that was asked for: there are ``bins`` to twice ``bins`` buckets,
    and at most ``MAX_BINS``, or fewer if the values' own precision holds no more. 0: as many
    as ``rule`` finds fit, of which up to ``RULE_BUCKETS`` are kept. Without a finite value the
    grid has no bucket.
    """

    bins: int
    rule: str
    grid: Grid
    moments: Moments

    @property
    def form(self) -> tuple[Any, ...]:
        """The buckets that were asked for."""
        return self.bins, self.rule

    @property
    def max_buckets(self) -> int:
        """The most buckets that its grid may have."""
        return max_buckets(self.bins)

    def merge(self, *others: GridHistogram) -> GridHistogram:
        """Returns the histogram of the values of all."""
        moments = self.moments.merge(*(other.moments for other in others))
        grids = _added_up([part.grid for part in (self, *others) if part.moments.num])
        if not grids:
            return GridHistogram(self.bins, self.rule, self.grid, moments)
        exponent, first, size = grid_range(moments.min, moments.max, self.max_buckets)
        counts: npt.NDArray[np.int64] = np.zeros(size, np.int64)
        for grid in grids:
            add_coarsened(grid, exponent, first, counts)
        counts.flags.writeable = False
        return GridHistogram(self.bins, self.rule, Grid(exponent, first, counts), moments)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return self.grid.counts.nbytes + self.moments.size_bytes


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RawHistogram:
    """A histogram that clients counted, over buckets up to ``limits``, float64[n].

    ``counts`` are n, and ``min`` and ``max`` are 0 if all are.
    """

    limits: npt.NDArray[np.float64]
    counts: ExactArray
    min: float
    max: float
    num: FloatSum
    sum: FloatSum
    squares: FloatSum

    @property
    def form(self) -> tuple[Any, ...]:
        """The limits."""
        return (self.limits.tobytes(),)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not self.counts.units and not self.counts.counts.any()

    def merge(self, *others: RawHistogram) -> RawHistogram:
        """Returns the histogram of all."""
        filled = [part for part in (self, *others) if not part.is_empty]
        counts, num, total, squares = self.counts, self.num, self.sum, self.squares
        for other in others:
            counts, num = counts.merge(other.counts), num.merge(other.num)
            total, squares = total.merge(other.sum), squares.merge(other.squares)
        return RawHistogram(
            self.limits,
            counts,
            min((part.min for part in filled), default=0.0),
            max((part.max for part in filled), default=0.0),
            num,
            total,
            squares,
        )

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.limits.nbytes + self.counts.size_bytes + 512


def _added_up(grids: Sequence[Grid]) -> list[Grid]:
    """Returns ``grids`` with those of one exponent added up, so that few are to be coarsened."""
    alike: dict[int, list[Grid]] = {}
    for grid in grids:
        alike.setdefault(grid.exponent, []).append(grid)
    added = []
    for exponent, parts in alike.items():
        first = min(part.first for part in parts)
        end = max(part.first + part.counts.size for part in parts)
        # Between grids that are far apart there may be more buckets than memory.
        if len(parts) == 1 or end - first > sum(part.counts.size for part in parts):
            added += parts
            continue
        counts: npt.NDArray[np.int64] = np.zeros(end - first, np.int64)
        for part in parts:
            counts[part.first - first : part.first - first + part.counts.size] += part.counts
        added.append(Grid(exponent, first, counts))
    return added


def add_coarsened(grid: Grid, exponent: int, first: int, counts: npt.NDArray[np.int64]) -> None:
    """Adds ``grid`` to ``counts``, buckets of 2**exponent, no narrower, from ``first`` on."""
    shift = exponent - grid.exponent
    start = (grid.first >> shift) - first
    if not shift:
        counts[start : start + grid.counts.size] += grid.counts
        return
    # Buckets that become one have the same number once its lowest bits are left out; all
    # that is left of a shift by 63 bits or more is the sign.
    numbers = np.arange(grid.first, grid.first + grid.counts.size) >> min(shift, 63)
    begins = np.append(0, np.flatnonzero(np.diff(numbers)) + 1)
    counts[start : start + begins.size] += np.add.reduceat(grid.counts, begins)


def max_buckets(bins: int) -> int:
    """Returns the most buckets of a grid for which ``bins`` were asked, 0 for a rule's."""
    return min(2 * bins, MAX_BINS) if bins else RULE_BUCKETS


def histogram_of(values: npt.NDArray[Any], bins: Bins) -> EdgesHistogram | GridHistogram:
    """Returns the histogram of one rank's ``values``.

    Args:
        values: any shape, of a dtype that ``reduce.histogram`` takes.
        bins: edges, or a number or a rule, for which a grid is kept.

    Raises ``InvalidTensorError`` for another dtype.
    """
    moments = Moments.of(exact_moments(values))
    if isinstance(bins, Edges):
        counts = count_edges(values, bins, moments.min, moments.max, moments.num)
        return EdgesHistogram(bins.edges, counts, moments)
    count = bins.count if isinstance(bins, EqualWidth) else 0
    rule = "" if isinstance(bins, EqualWidth) else bins.name
    if moments.num:
        grid = count_grid(values, moments.min, moments.max, max_buckets(count))
    else:
        grid = Grid(0, 0, _EMPTY)
    return GridHistogram(count, rule, grid, moments)
