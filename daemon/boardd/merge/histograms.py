"""Histograms as files have them, counted by anybody, merged over ranks.

Counts add up if the edges agree, that is, if no rank has an edge inside another's bucket.
Outer buckets reach no farther than that rank's smallest and largest value, and empty buckets
contain nothing, so writers that leave out empty buckets agree as well. If they do not agree,
each bucket's values are taken to be spread evenly over it, and the result is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Buckets:
    """One rank's histogram: ``count`` values from ``left`` to ``right``, float64[n] each.

    These are the buckets that are not empty, in ascending order. ``edges``, ascending, are
    those of all buckets as far as they are known.
    """

    left: _Floats
    right: _Floats
    count: _Floats
    edges: _Floats
    min: float
    max: float
    num: float
    sum: float
    sum_squares: float

    @classmethod
    def of_limits(
        cls,
        limits: _Floats,
        counts: _Floats,
        *,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
    ) -> Buckets | None:
        """Returns what ``counts`` up to the right edges ``limits`` say; None if that cannot be."""
        if limits.shape != counts.shape or not _ascend(limits) or not _are_counts(counts):
            return None
        if not math.isfinite(min) or not math.isfinite(max):
            return None
        left = np.concatenate(([-math.inf], limits[:-1]))
        # The last limit of TensorFlow's edges is the largest float.
        edges = limits[limits < np.finfo(np.float64).max]
        return cls._filled(left, limits, counts, edges, min, max, num, sum, sum_squares)

    @classmethod
    def of_rows(cls, rows: _Floats) -> Buckets | None:
        """Returns what rows of left edge, right edge and count say, as TensorFlow 2 has them.

        They do not tell sums, which are taken from the middles of the buckets.
        """
        left, right, counts = rows.T
        if not _ascend(right) or not _ascend(left) or not _are_counts(counts):
            return None
        if not (np.isfinite(left) & np.isfinite(right)).all():
            return None
        middle = left / 2 + right / 2
        filled = np.flatnonzero(counts)
        edges = np.unique(np.concatenate((left, right)))
        low = float(left[filled[0]]) if filled.size else 0.0
        high = float(right[filled[-1]]) if filled.size else 0.0
        with np.errstate(over="ignore"):
            sums = float((middle * counts).sum()), float((middle**2 * counts).sum())
        return cls._filled(left, right, counts, edges, low, high, float(counts.sum()), *sums)

    @classmethod
    def _filled(
        cls,
        left: _Floats,
        right: _Floats,
        counts: _Floats,
        edges: _Floats,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
    ) -> Buckets:
        filled = counts > 0
        left, right = np.maximum(left[filled], min), np.minimum(right[filled], max)
        return cls(
            np.minimum(left, right),
            right,
            counts[filled],
            edges,
            min,
            max,
            num,
            sum,
            sum_squares,
        )


@dataclass(frozen=True, eq=False)
class MergedBuckets:
    """The histogram of all ranks; ``limits`` are right edges, float64[n] as ``counts``."""

    limits: _Floats
    counts: _Floats
    min: float
    max: float
    num: float
    sum: float
    sum_squares: float
    is_exact: bool


def merge_buckets(parts: Sequence[Buckets]) -> MergedBuckets:
    """Returns the histogram of all values together, of one rank at least."""
    filled = [part for part in parts if part.count.size]
    low = min((part.min for part in filled), default=0.0)
    high = max((part.max for part in filled), default=0.0)
    if filled:
        limits, counts, is_exact = _counts(filled, low, high)
    else:
        limits, counts, is_exact = np.zeros(0), np.zeros(0), True
    return MergedBuckets(
        limits,
        counts,
        low,
        high,
        math.fsum(part.num for part in parts),
        _sum(part.sum for part in parts),
        _sum(part.sum_squares for part in parts),
        is_exact,
    )


def _counts(parts: Sequence[Buckets], low: float, high: float) -> tuple[_Floats, _Floats, bool]:
    edges = np.unique(np.concatenate([part.edges for part in parts]))
    if not any(_splits(edges, part) for part in parts):
        # A last bucket that the largest value ends has no edge of its own.
        limits = edges if edges.size and edges[-1] >= high else np.append(edges, high)
        counts = np.zeros(limits.size)
        for part in parts:
            np.add.at(counts, np.searchsorted(limits, part.right), part.count)
        return limits, counts, True
    buckets = max(max(part.edges.size, part.count.size) for part in parts)
    limits = np.linspace(low, high, buckets + 1)[1:]
    limits[-1] = high
    counts = np.zeros(buckets)
    for part in parts:
        counts += _spread(part, np.concatenate(([low], limits)))
    return limits, counts, False


def _splits(edges: _Floats, part: Buckets) -> bool:
    """Whether an edge lies inside a bucket of ``part``."""
    after = np.searchsorted(edges, part.left, side="right")
    return bool((after < np.searchsorted(edges, part.right, side="left")).any())


def _spread(part: Buckets, edges: _Floats) -> _Floats:
    """The counts of ``part`` between ``edges``, each bucket's spread evenly over it."""
    width = part.right - part.left
    is_point = width <= 0
    counts = np.zeros(edges.size - 1)
    at = np.clip(np.searchsorted(edges, part.right[is_point]) - 1, 0, counts.size - 1)
    np.add.at(counts, at, part.count[is_point])
    left, right, count = part.left[~is_point], part.right[~is_point], part.count[~is_point]
    if left.size:
        # Below each edge, so many values lie; buckets do not overlap.
        ends = np.cumsum(count)
        places = np.stack((left, right), 1).reshape(-1)
        below = np.stack((ends - count, ends), 1).reshape(-1)
        counts += np.diff(np.interp(edges, places, below))
    return counts


def _sum(values: Iterable[float]) -> float:
    found = list(values)
    try:
        return math.fsum(found)
    except (OverflowError, ValueError):  # past the range, or of both infinities
        return float(np.sum(found))


def _ascend(values: _Floats) -> bool:
    return values.ndim == 1 and not np.isnan(values).any() and bool((np.diff(values) >= 0).all())


def _are_counts(counts: _Floats) -> bool:
    return bool((np.isfinite(counts) & (counts >= 0)).all())
