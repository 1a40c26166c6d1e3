"""How many buckets of a merged grid are shown.

NumPy's rules choose from number, range, deviation, skewness and quartiles. Number and range
are exact here; the others come from the grid that is kept, whose buckets are a small part of
the range. So a merged histogram can have a few buckets more or
less than NumPy would give all values together, and the same ones in any order of merges.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from boardd.partials.histograms import (
    RULE_BUCKETS,
    GridHistogram,
    Moments,
    add_coarsened,
)
from boardd.reduce.histogram.grid import Grid, bucket_number, grid_range

_QUARTILES: Final = (0.25, 0.75)


def shown_grid(histogram: GridHistogram) -> Grid:
    """Returns the grid to show: that which is kept, or as coarse as its rule wants it."""
    grid, moments = histogram.grid, histogram.moments
    if histogram.bins or not moments.num:
        return grid
    if histogram.rule == "stone":
        exponent = _stone_exponent(grid, moments)
    else:
        count = min(_rule_count(histogram.rule, grid, moments), RULE_BUCKETS // 2)
        exponent = grid_range(moments.min, moments.max, 2 * count).exponent
    return _coarsened(grid, moments, max(exponent, grid.exponent))


def _coarsened(grid: Grid, moments: Moments, exponent: int) -> Grid:
    first = bucket_number(moments.min, exponent)
    size = bucket_number(moments.max, exponent) - first + 1
    counts: npt.NDArray[np.int64] = np.zeros(size, np.int64)
    add_coarsened(grid, exponent, first, counts)
    counts.flags.writeable = False
    return Grid(exponent, first, counts)


def _rule_count(rule: str, grid: Grid, moments: Moments) -> int:
    """Returns how many buckets ``rule`` finds fit, 1 to ``RULE_BUCKETS``."""
    width = _width(rule, grid, moments)
    if not width:
        return 1
    return max(1, math.ceil(min(1 / width, RULE_BUCKETS)))


def _width(rule: str, grid: Grid, moments: Moments) -> float:
    """Returns the width of a bucket as a share of the range, by NumPy's formulas; 0: all of it."""
    num = moments.num
    if rule == "sqrt":
        return 1 / math.sqrt(num)
    if rule == "rice":
        return 1 / (2 * math.pow(num, 1 / 3))
    if rule == "scott":
        return float((24 * math.sqrt(math.pi) / num) ** (1 / 3) * _deviation(grid, moments))
    if rule == "doane":
        return _doane_width(grid, moments)
    by_number = 1 / (math.log2(num) + 1)
    if rule == "sturges":
        return by_number
    by_quartiles = float(2 * _interquartile_range(grid, moments) * num ** (-1 / 3))
    if rule == "fd":
        return by_quartiles
    return min(by_quartiles, by_number) if by_quartiles else by_number


def _positions(grid: Grid, moments: Moments) -> npt.NDArray[np.float64]:
    """Returns the middles of the buckets, from 0 at the smallest value to 1 at the largest."""
    edges = np.clip(grid.edges / 4, moments.min / 4, moments.max / 4)
    distance = moments.max / 4 - moments.min / 4
    if not distance:
        return np.zeros(grid.counts.size)
    middles = edges[1:] / 2 + edges[:-1] / 2
    return (middles - moments.min / 4) / distance


def _deviation(grid: Grid, moments: Moments) -> float:
    positions = _positions(grid, moments)
    mean = _mean(positions, grid, moments)
    return math.sqrt(_mean((positions - mean) ** 2, grid, moments))


def _mean(positions: npt.NDArray[np.float64], grid: Grid, moments: Moments) -> float:
    # Not a product of matrices, whose rounding depends on the number of threads.
    return float((positions * grid.counts).sum()) / moments.num


def _doane_width(grid: Grid, moments: Moments) -> float:
    num = moments.num
    deviation = _deviation(grid, moments)
    if num <= 2 or not deviation:
        return 0.0
    positions = _positions(grid, moments)
    mean = _mean(positions, grid, moments)
    skewness = _mean(((positions - mean) / deviation) ** 3, grid, moments)
    error = math.sqrt(6 * (num - 2) / ((num + 1) * (num + 3)))
    return 1 / (1 + math.log2(num) + math.log2(1 + abs(skewness) / error))


def _interquartile_range(grid: Grid, moments: Moments) -> float:
    positions = _positions(grid, moments)
    below = np.cumsum(grid.counts)
    places = [int(np.searchsorted(below, share * moments.num)) for share in _QUARTILES]
    lower, upper = (float(positions[min(place, positions.size - 1)]) for place in places)
    return upper - lower


def _stone_exponent(grid: Grid, moments: Moments) -> int:
    """Returns the width that minimises Stone's estimate of the leave-one-out loss.

    As ``reduce.histogram.rules``, over the widths that the grid can have.
    """
    num = moments.num
    best, best_loss = grid.exponent, math.inf
    exponent = grid.exponent
    while True:
        level = _coarsened(grid, moments, exponent)
        shares = level.counts / num
        # Of losses only the order counts: in units of the finest width.
        loss = (2 - (num + 1) * float((shares * shares).sum())) * 2.0 ** (grid.exponent - exponent)
        if loss < best_loss:
            best, best_loss = exponent, loss
        if level.counts.size <= 2:
            return best
        exponent += 1
