"""Histograms over buckets of equal width, in one compiled call.

What a histogram of a few values costs is the Python around the loops, not the
loops. So range, sums, edges and counts come from one call here, by the loops of
``kernels`` and ``counting``. Importing this loads numba, as importing those does.

The values may change while they are read; see ``counting``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import brief_entry, callee, entry, inner
from boardd.reduce.histogram.bins import LARGE_DISTANCE, SMALL_DISTANCE
from boardd.reduce.histogram.counting import (
    COUNT_BLOCK,
    MAX_SHORT_SLOT,
    TABLES,
    count_direct,
    count_uniform,
)
from boardd.reduce.histogram.kernels import moments
from boardd.reduce.histogram.thresholds import DIRECT_SIZE, MAX_TOLERANCE

_FLOAT32_EPSILON: Final = 2.0**-23
_FLOAT64_EPSILON: Final = 2.0**-52

_moments = callee(moments)
_count_direct = callee(count_direct)
_count_uniform = callee(count_uniform)


@inner()
def _write_edges(minimum: float, maximum: float, edges: npt.NDArray[np.float64]) -> bool:
    # As ``bins.equal_width_edges``, operation for operation; False if that goes another way.
    if minimum == maximum:
        minimum, maximum = minimum - 0.5, maximum + 0.5
    distance = maximum - minimum
    if not (distance > SMALL_DISTANCE and distance < LARGE_DISTANCE):
        return False
    bins = edges.size - 1
    step = distance / bins
    for index in range(bins):
        edge = index * step + minimum
        edges[index] = edge if edge < maximum else maximum
    edges[bins] = maximum
    return True


@inner()
def _write_thresholds(
    edges: npt.NDArray[np.float64], padded: npt.NDArray[Any], bits: npt.NDArray[Any]
) -> None:
    # As ``thresholds.thresholds``, between -inf and NaN; ``bits`` is the memory of ``padded``.
    bins = edges.size - 1
    padded[0] = -np.inf
    padded[bins + 2] = np.nan
    for index in range(bins + 1):
        edge = edges[index]
        padded[index + 1] = edge
        rounded: Any = np.float64(padded[index + 1])
        if rounded < edge or (index == bins and rounded == edge):
            # The next number above it.
            if rounded == 0.0:
                bits[index + 1] = 1
            elif rounded > 0.0:
                bits[index + 1] += 1
            else:
                bits[index + 1] -= 1
        # Without minus zeros.
        if padded[index + 1] == 0.0:
            bits[index + 1] = 0


@inner()
def _count_by_thresholds(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    edges: npt.NDArray[np.float64],
    is_covered: bool,
    counts: npt.NDArray[np.int64],
) -> bool:
    # Returns whether there are thresholds, by ``thresholds.uniform``, and all are counted.
    bins = counts.size
    if bins + 2 > MAX_SHORT_SLOT:  # one on either side
        return False
    number = values.dtype.type
    padded = np.empty(bins + 3, values.dtype)
    _write_thresholds(edges, padded, padded.view(bits.dtype))
    first = padded[1]
    last = np.nextafter(padded[bins + 1], number(-np.inf))
    distance = np.float64(last) - np.float64(first)
    if not distance > 0.0:
        return False
    scale = number(bins / distance)
    if not scale < np.inf:
        return False
    one = number(1)
    drift = 0.0
    for index in range(bins + 1):
        position: Any = np.float64((padded[index + 1] - first) * scale + one)
        drift = max(drift, abs(position - (index + 1)))
    epsilon = _FLOAT32_EPSILON if values.itemsize == 4 else _FLOAT64_EPSILON
    tolerance = drift + bins * epsilon
    if not tolerance <= MAX_TOLERANCE:
        return False
    slots = np.empty(COUNT_BLOCK, np.uint16)
    # Rows that lie 4 KiB apart would wait for each other's stores.
    tables = np.zeros((TABLES, bins + 18), np.uint32)
    _count_uniform(
        values,
        padded,
        first,
        last,
        scale,
        number(bins),
        number(0.5),
        number(tolerance),
        is_covered,
        slots,
        tables,
    )
    for table in range(TABLES):
        for index in range(bins):
            counts[index] += tables[table, index + 1]
    return True


@inner()
def ordinary_range(
    values: npt.NDArray[Any], bits: npt.NDArray[Any], mask: Any, shift: Any, infinity: Any
) -> tuple[bool, float, float, int, float, float, int, int, int]:
    """Returns as ``equal_width``, before anything is counted: whether the range is ordinary."""
    keys = np.empty(2, bits.dtype)
    total, compensation, squares, num, nan_count, positive, negative = _moments(
        values, bits, mask, shift, infinity, keys
    )
    total += compensation
    for index in range(2):
        keys[index] ^= (keys[index] >> shift) & mask
    ends = keys.view(values.dtype)
    # Plain zero for minus zero.
    lowest: Any = np.float64(ends[0]) + 0.0
    highest: Any = np.float64(ends[1]) + 0.0
    is_made = num > 0 and abs(total) < np.inf
    is_made = is_made and -np.inf < lowest and lowest <= highest and highest < np.inf
    return is_made, lowest, highest, num, total, squares, nan_count, positive, negative


@inner()
def _begin(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    edges: npt.NDArray[np.float64],
) -> tuple[bool, float, float, int, float, float, int, int, int]:
    # As ``ordinary_range``; writes the edges as well.
    found = ordinary_range(values, bits, mask, shift, infinity)
    is_made, lowest, highest, num, total, squares, nan_count, positive, negative = found
    is_made = is_made and _write_edges(lowest, highest, edges)
    return is_made, lowest, highest, num, total, squares, nan_count, positive, negative


@inner()
def _count_few(
    values: npt.NDArray[Any], edges: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> None:
    bins = counts.size
    _count_direct(values, edges, bins / (edges[bins] - edges[0]), counts)


@entry
def equal_width(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    edges: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> tuple[bool, float, float, int, float, float, int, int, int]:
    """Makes the histogram of ``values`` over its own range, if that is an ordinary one.

    Args:
        values: float32[n] or float64[n], n at most 2**30.
        bits, mask, shift, infinity: as for ``kernels.moments``.
        edges: float64[bins + 1], to be written: those of ``bins.equal_width_edges``.
        counts: int64[bins] of zeros, to be written.

    Returns:
        whether it was made; then min, max, number of the finite values, their
        sum and sum of squares, numbers of NaN, of positive and of negative
        infinities. It is not made if no value is finite, the sum or the
        distances overflow, or many values need another way to be counted.
    """
    found = _begin(values, bits, mask, shift, infinity, edges)
    is_made, lowest, highest, num, total, squares, nan_count, positive, negative = found
    if is_made and lowest == highest:
        bucket = 0
        while bucket < counts.size - 1 and edges[bucket + 1] <= lowest:
            bucket += 1
        counts[bucket] = num
    elif is_made and not _count_by_thresholds(values, bits, edges, num == values.size, counts):
        is_made = values.size <= DIRECT_SIZE
        if is_made:
            _count_few(values, edges, counts)
    return is_made, lowest, highest, num, total, squares, nan_count, positive, negative


@brief_entry
def equal_width_of_few(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    edges: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> tuple[bool, float, float, int, float, float, int, int, int]:
    """As ``equal_width``, for as few values and buckets as take no longer than other threads wait.

    Thresholds would take longer to make than the values to be compared with the edges.
    """
    found = _begin(values, bits, mask, shift, infinity, edges)
    if found[0]:
        _count_few(values, edges, counts)
    return found
