"""Moments and grids of many small arrays in one compiled call, by the loops for one.

What is called is what ``exact_moments`` and ``count_grid`` call for each of them, so the
results are the same. Importing this loads numba.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import callee, entry, inner
from boardd.reduce.histogram.exact_kernels import UNITS, exact_moments
from boardd.reduce.histogram.grid_kernels import count_grid

#: Columns of a table of exact sums that are kept of one array.
MAX_COLUMNS: Final = 64
#: Powers of two that are ordinary: values times one of them stay far within their type.
_MAX_SHORT_EXPONENT: Final = 120
_MAX_EXPONENT: Final = 900
#: float32 counts buckets of these numbers.
_MAX_SHORT_NUMBER: Final = float(1 << 23)
#: Bits of float64's significand, less one.
_FRACTION_BITS: Final = 52

_exact_moments = callee(exact_moments)
_count_grid = callee(count_grid)


@inner()
def _number(value: float, scale: float) -> float:
    number: float = np.floor(value * scale)
    # A product that underflows is still below zero.
    return -1.0 if value < 0.0 and number >= 0.0 else number


@inner()
def _grid_range(
    lowest: Any, highest: Any, max_buckets: int, max_exponent: int
) -> tuple[bool, int, float, float]:
    # As ``grid.grid_range``: exponent, first bucket and number of buckets, if they are ordinary.
    exponent = math.frexp(max(abs(lowest), abs(highest)))[1] - _FRACTION_BITS
    length = 0
    while max_buckets >> length:
        length += 1
    # Below this the distance alone, which may be rounded up, spans more buckets.
    if highest > lowest:
        exponent = max(exponent, math.frexp(highest - lowest)[1] - 1 - length)
    while -max_exponent <= exponent <= max_exponent:
        scale = math.ldexp(1.0, -exponent)
        first, last = _number(lowest, scale), _number(highest, scale)
        if last - first < max_buckets:
            return True, exponent, first, last - first + 1.0
        exponent += 1
    return False, 0, 0.0, 0.0


@inner()
def _take_deposits(table: npt.NDArray[np.int64], deposits: npt.NDArray[np.int64]) -> int:
    # As ``exact_kernels.take_deposits``, but no more than ``deposits`` has room for are kept.
    count = 0
    for index in range(UNITS):
        if table[0, index] | table[1, index]:
            if count < deposits.shape[1]:
                deposits[0, count] = index
                deposits[1, count] = table[0, index]
                deposits[2, count] = table[1, index]
            table[0, index] = table[1, index] = 0
            count += 1
    return count


@inner()
def _take_counts(tables: npt.NDArray[np.uint32], size: int, counts: npt.NDArray[np.int64]) -> None:
    for row in range(tables.shape[0]):
        for bucket in range(size):
            counts[bucket] += np.int64(tables[row, bucket + 1])
        tables[row, : size + 2] = np.uint32(0)


@entry
def grids_of_many(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    starts: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
    slots: npt.NDArray[np.uint16],
    tables: npt.NDArray[np.uint32],
    counts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
    deposits: npt.NDArray[np.int64],
) -> None:
    """Makes the moments and the grids of n arrays, where those are ordinary.

    Args:
        values: float32 or float64, of all arrays, one after the other.
        bits, mask, shift, infinity: as for ``exact_moments``.
        starts: int64[n + 1], where each begins, and where the last ends.
        sums, squares: int64[2, UNITS], of zeros: scratch, and zeros again afterwards.
        slots: uint16[COUNT_BLOCK]: scratch.
        tables: uint32[TABLES, buckets + 18], of zeros: scratch.
        counts: int64[n, buckets], of zeros: gets the counts; its width is the most buckets.
        ends: float64[n, 2], to be written: the smallest and the largest finite value.
        numbers: int64[n, 11], to be written: whether it was made; the numbers of finite
            values, of NaN, of positive and of negative infinities, and of squares that
            overflow; exponent, first bucket and number of buckets; how many columns of
            ``deposits`` are filled for the sum, and for the sum of squares.
        deposits: int64[n, 2, 3, MAX_COLUMNS], to be written: of the sum and of the sum of
            squares, as ``exact_kernels.take_deposits`` does.
    """
    keys = np.empty(2, bits.dtype)
    scalars = np.empty(3, values.dtype)
    max_buckets = counts.shape[1]
    is_short = values.itemsize == 4
    for index in range(starts.size - 1):
        own = values[starts[index] : starts[index + 1]]
        own_bits = bits[starts[index] : starts[index + 1]]
        row = numbers[index]
        found = _exact_moments(own, own_bits, mask, shift, infinity, keys, sums, squares)
        row[1], row[2], row[3], row[4], row[5] = found
        row[9] = _take_deposits(sums, deposits[index, 0])
        row[10] = _take_deposits(squares, deposits[index, 1])
        row[0] = 0
        if not row[1] or max(row[9], row[10]) > deposits.shape[3]:
            continue
        keys[0] ^= (keys[0] >> shift) & mask
        keys[1] ^= (keys[1] >> shift) & mask
        extremes = keys.view(values.dtype)
        # Plain zero for minus zero.
        lowest = ends[index, 0] = np.float64(extremes[0]) + 0.0
        highest = ends[index, 1] = np.float64(extremes[1]) + 0.0
        is_made, exponent, first, size = _grid_range(
            lowest, highest, max_buckets, _MAX_SHORT_EXPONENT if is_short else _MAX_EXPONENT
        )
        if not is_made or (is_short and max(abs(first), abs(first + size)) >= _MAX_SHORT_NUMBER):
            continue
        scalars[0] = math.ldexp(1.0, -exponent)
        scalars[1], scalars[2] = first, size
        _count_grid(own, scalars[0], scalars[1], scalars[2], slots, tables)
        row[0], row[6], row[7], row[8] = 1, exponent, np.int64(first), np.int64(size)
        _take_counts(tables, row[8], counts[index])
