"""Histograms of one rank each over grids, of which many are made together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from boardd.partials.histograms import GridHistogram, Moments, max_buckets
from boardd.reduce.histogram.bins import EqualWidth, Rule
from boardd.reduce.histogram.grid_many import MAX_BUCKETS, MAX_SIZE, grids


def is_made_together(size: int, bins: EqualWidth | Rule) -> bool:
    """Returns whether the histogram of ``size`` values can be made together with others."""
    return 0 < size <= MAX_SIZE and max_buckets(_count(bins)) <= MAX_BUCKETS


def histograms_of(
    arrays: Sequence[npt.NDArray[Any]], bins: EqualWidth | Rule
) -> list[GridHistogram | None]:
    """Returns what ``histogram_of`` returns for each of ``arrays``; None for unusual ones.

    Args:
        arrays: contiguous, all float32 or all float64; of sizes that are made together.
        bins: of each.
    """
    count = _count(bins)
    rule = bins.name if isinstance(bins, Rule) else ""
    found = grids([array.reshape(-1) for array in arrays], max_buckets(count))
    return [
        None if made is None else GridHistogram(count, rule, made[1], Moments.of(made[0]))
        for made in found
    ]


def _count(bins: EqualWidth | Rule) -> int:
    return bins.count if isinstance(bins, EqualWidth) else 0
