"""Histograms of many arrays at once: of small ones together in one compiled call.

What a histogram of a few values costs is the Python around the loops. Each result has the
bits of what ``histogram`` returns for the array.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce import readiness
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth
from boardd.reduce.histogram.chunks import compared_dtype, converted, read_only
from boardd.reduce.histogram.histogram import (
    DIRECT_SEARCH_SIZE,
    FEW,
    FEW_BINS,
    Histogram,
    histogram,
)
from boardd.reduce.histogram.thresholds import BITS

if TYPE_CHECKING:
    from types import ModuleType

#: Arrays up to this size are made together: one call for each larger one costs little beside it.
SMALL_SIZE: Final = DIRECT_SEARCH_SIZE
#: Buckets that one call makes at most, and values that it reads, unless one array has more.
_CALL_BUCKETS: Final = 1 << 17
_CALL_VALUES: Final = 1 << 17
#: Up to this many values and buckets, other threads wait while they are made.
_BRIEF_VALUES: Final = 1 << 13
_BRIEF_BUCKETS: Final = 1 << 13


def histograms(values: npt.NDArray[Any], sizes: Sequence[int], bins: Bins) -> Iterator[Histogram]:
    """Yields the histogram of each of n arrays, as ``histogram`` returns it.

    But that counts may be float64, as they are written: that is done for all at once.

    Args:
        values: [sum of ``sizes``], of a dtype that ``histogram`` takes: the arrays one after
            the other.
        sizes: of each array.
        bins: of each histogram. Of a ``Rule`` each array is made by itself.

    Raises ``InvalidTensorError`` as ``histogram``.
    """
    dtype = compared_dtype(values.dtype)
    count = 0 if readiness.are_awaited() else _bucket_count(bins)
    at = 0
    waiting: list[int] = []  # sizes of the small arrays just before ``at``
    for size in sizes:
        is_small = count > 0 and size <= SMALL_SIZE
        together = sum(waiting)
        is_full = (len(waiting) + 1) * count > _CALL_BUCKETS or together + size > _CALL_VALUES
        if waiting and (is_full or not is_small):
            yield from _together(values[at - together : at], waiting, bins, count, dtype)
            waiting = []
        if is_small:
            waiting.append(size)
        else:
            yield histogram(values[at : at + size], bins)
        at += size
    if waiting:
        yield from _together(values[at - sum(waiting) : at], waiting, bins, count, dtype)


def _bucket_count(bins: Bins) -> int:
    """The number of buckets; 0 if it depends on the values."""
    if isinstance(bins, EqualWidth):
        return bins.count
    return bins.edges.size - 1 if isinstance(bins, Edges) else 0


def _together(
    values: npt.NDArray[Any], sizes: Sequence[int], bins: Bins, count: int, dtype: np.dtype[Any]
) -> Iterator[Histogram]:
    """Yields the histograms of small arrays, made in one call where that is possible."""
    bits = BITS[dtype]
    flat = read_only(np.require(converted(values, dtype), requirements=("C", "A")))
    ends = list(itertools.accumulate(sizes, initial=0))
    starts = np.array(ends, np.int64)
    counts = np.empty((len(sizes), count))
    floats = np.empty((len(sizes), 4))
    numbers = np.empty((len(sizes), 5), np.int64)
    head = (flat, flat.view(bits.integer), bits.mask, bits.shift, bits.infinity, starts)
    kernels = _kernels()
    is_brief = flat.size <= _BRIEF_VALUES and counts.size <= _BRIEF_BUCKETS
    edges: npt.NDArray[np.float64] | Sequence[npt.NDArray[np.float64]]
    if isinstance(bins, Edges):
        edges = [bins.edges] * len(sizes)
        kernel = kernels.brief_between_edges_of_many if is_brief else kernels.between_edges_of_many
        kernel(*head, bins.edges, counts, floats, numbers)
    else:
        own_edges = edges = np.empty((len(sizes), count + 1))
        most_few = FEW if count <= FEW_BINS else -1
        kernel = kernels.brief_equal_width_of_many if is_brief else kernels.equal_width_of_many
        kernel(*head, most_few, own_edges, counts, floats, numbers)
        own_edges.flags.writeable = False
    counts.flags.writeable = False
    rows = zip(floats.tolist(), numbers.tolist(), edges, counts, strict=True)
    for index, ((low, high, total, squares), found, own, counted) in enumerate(rows):
        is_made, num, *not_finite = found
        if is_made:
            yield Histogram(low, high, num, total, squares, own, counted, *not_finite)
        else:  # nothing in it is finite, or its scale is an unusual one
            yield histogram(values[ends[index] : ends[index + 1]], bins)


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import many_kernels

    return many_kernels
