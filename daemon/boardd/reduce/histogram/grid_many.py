"""Exact moments and grids of many small arrays at once, in one compiled call.

What they cost one by one is the Python around the loops. Each result is the one that
``exact_moments`` and ``count_grid`` return for the array.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce import readiness
from boardd.reduce.histogram.chunks import FLOAT32, FLOAT64, read_only
from boardd.reduce.histogram.exact_moments import ExactMoments, added_up, tables_of_sums
from boardd.reduce.histogram.grid import Grid
from boardd.reduce.histogram.thresholds import BITS

if TYPE_CHECKING:
    from types import ModuleType

#: What is made together: arrays of these dtypes with so many values, into so many buckets.
DTYPES: Final = (FLOAT32, FLOAT64)
MAX_SIZE: Final = 1 << 15
MAX_BUCKETS: Final = 4096
#: One call copies about this many values at most, and has about this many buckets.
CALL_VALUES: Final = 1 << 17
CALL_BUCKETS: Final = 1 << 16

Made = tuple[ExactMoments, Grid]


def grids(arrays: Sequence[npt.NDArray[Any]], max_buckets: int) -> list[Made | None]:
    """Returns the moments and the grid of each of n arrays; None for those not made here.

    That is so of arrays without a finite value and of unusual scales, and of all while kernels
    are awaited.

    Args:
        arrays: contiguous, each [its size], of one of ``DTYPES``. They are copied: what is
            written to them meanwhile is in both moments and grid, or in neither.
        max_buckets: of each grid, as for ``grid_range``; at most ``MAX_BUCKETS``.
    """
    if readiness.are_awaited():
        return [None] * len(arrays)
    made: list[Made | None] = []
    step = max(1, CALL_BUCKETS // max_buckets)
    begin = values = 0
    for at, array in enumerate(arrays):
        if at > begin and (at - begin == step or values + array.size > CALL_VALUES):
            made += _together(arrays[begin:at], max_buckets)
            begin, values = at, 0
        values += array.size
    if begin < len(arrays):
        made += _together(arrays[begin:], max_buckets)
    return made


def _together(arrays: Sequence[npt.NDArray[Any]], max_buckets: int) -> list[Made | None]:
    flat = read_only(np.concatenate(arrays))
    bits = BITS[flat.dtype]
    count = len(arrays)
    starts = np.array([0, *itertools.accumulate(array.size for array in arrays)], np.int64)
    counts = np.zeros((count, max_buckets), np.int64)
    ends, numbers = np.empty((count, 2)), np.empty((count, 11), np.int64)
    kernels = _kernels()
    deposits = np.empty((count, 2, 3, kernels.MAX_COLUMNS), np.int64)
    with tables_of_sums() as (sums, squares):
        kernels.grids_of_many(
            flat,
            flat.view(bits.integer),
            bits.mask,
            bits.shift,
            bits.infinity,
            starts,
            sums,
            squares,
            np.empty(_grid_kernels().COUNT_BLOCK, np.uint16),
            np.zeros((_grid_kernels().TABLES, max_buckets + 18), np.uint32),
            counts,
            ends,
            numbers,
            deposits,
        )
    rows = numbers.tolist()
    columns = max((max(row[9:]) for row in rows if row[0]), default=0)
    filled = deposits[:, :, :, :columns].tolist()
    each = zip(rows, ends.tolist(), counts, filled, strict=True)
    return [_made(*one) if one[0][0] else None for one in each]


def _made(
    row: list[int],
    ends: list[float],
    counts: npt.NDArray[np.int64],
    deposits: list[list[list[int]]],
) -> Made:
    _, num, nan_count, positive, negative, overflows, exponent, first, size, *filled = row
    total, squares = (
        added_up(*(column[:length] for column in columns))
        for columns, length in zip(deposits, filled, strict=True)
    )
    low, high = ends
    moments = ExactMoments(num, low, high, total, squares, overflows, nan_count, positive, negative)
    own = counts[:size].copy()  # of the others' nothing is to be kept
    own.flags.writeable = False
    return moments, Grid(exponent, first, own)


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import grid_many_kernels

    return grid_many_kernels


@functools.cache
def _grid_kernels() -> ModuleType:
    from boardd.reduce.histogram import grid_kernels

    return grid_kernels
