"""Buckets of equal width whose edges are whole multiples of a power of two.

The width is a function of the smallest and the largest value alone, and can only grow when
values are added; from one width to the next, pairs of neighbouring buckets become one. So
the counts of several parts, each made over its own range, add up to those of all values
together (``partials``). A value is divided by a power of two and rounded down, both without
error: no value is ever on the wrong side of an edge.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from boardd.reduce import readiness
from boardd.reduce.histogram.chunks import (
    CHUNK,
    FEW_VALUES,
    FLOAT32,
    FLOAT64,
    MAX_KERNEL_VALUES,
    Chunks,
    chunked,
    converted,
    read_only,
)

#: The exponent of the smallest float64.
_LEAST_EXPONENT: Final = -1074
#: Beyond two to the power of this, or its inverse, a factor or a product leaves float64.
_MAX_SCALE_EXPONENT: Final = 900

#: Bits of float64's significand, less one: buckets are numbered in fewer.
_FLOAT64_BITS: Final = 52
#: All bits of float64's significand.
_DIGITS: Final = 53
#: float32 counts buckets of these numbers.
_MAX_FLOAT32_NUMBER: Final = 1 << 23
_MAX_FLOAT32_EXPONENT: Final = 120


@dataclasses.dataclass(slots=True, eq=False)
class Grid:
    """``counts``, int64[n], of values in [i, i + 1) * 2**exponent, i from ``first`` on."""

    exponent: int
    first: int
    counts: npt.NDArray[np.int64]

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The n + 1 edges; where they would be infinite, the largest finite number."""
        numbers = np.arange(self.first, self.first + self.counts.size + 1, dtype=np.float64)
        with np.errstate(over="ignore"):
            edges = np.ldexp(numbers, self.exponent)
        edges = np.clip(edges, -sys.float_info.max, sys.float_info.max)
        edges.flags.writeable = False
        return edges


class GridRange(NamedTuple):
    """``size`` buckets of 2**exponent, the first of which has the number ``first``."""

    exponent: int
    first: int
    size: int


def grid_range(lowest: float, highest: float, max_buckets: int) -> GridRange:
    """Returns the buckets over finite values.

    Their width is the smallest one of which at most ``max_buckets``, at least 2, reach from
    ``lowest`` to ``highest``, and with which every value's bucket has a number of
    52 bits.
    """
    magnitude = math.frexp(max(abs(lowest), abs(highest)))[1]
    exponent = max(magnitude - _FLOAT64_BITS, _LEAST_EXPONENT)
    low, high = _units(lowest), _units(highest)
    # With fewer bits than this the distance alone spans more buckets.
    needed = (high - low).bit_length() - 1 - max_buckets.bit_length()
    exponent = max(exponent, needed + _LEAST_EXPONENT)
    while True:
        shift = exponent - _LEAST_EXPONENT
        first, last = low >> shift, high >> shift
        if last - first < max_buckets:
            return GridRange(exponent, first, last - first + 1)
        exponent += 1


def bucket_number(value: float, exponent: int) -> int:
    """Returns the number of the bucket of 2**exponent that holds a finite ``value``."""
    return _units(value) >> (exponent - _LEAST_EXPONENT)


def _units(value: float) -> int:
    """Returns a finite value in units of the smallest float64."""
    significand, exponent = math.frexp(value)
    digits = int(math.ldexp(significand, _DIGITS))
    shift = exponent - _DIGITS - _LEAST_EXPONENT
    return digits << shift if shift >= 0 else digits >> -shift


def count_grid(values: npt.NDArray[Any], lowest: float, highest: float, max_buckets: int) -> Grid:
    """Returns the counts of the finite ones of ``values``.

    Args:
        values: any shape, of a dtype that ``histogram`` takes.
        lowest, highest: their smallest and their largest one.
        max_buckets: as for ``grid_range``.

    Raises ``InvalidTensorError`` for another dtype.
    """
    buckets = grid_range(lowest, highest, max_buckets)
    chunks, dtype = chunked(values)
    counts: npt.NDArray[np.int64] = np.zeros(buckets.size, np.int64)
    if abs(buckets.exponent) > _MAX_SCALE_EXPONENT or readiness.are_awaited():
        for chunk in chunks():
            for start in range(0, chunk.size, CHUNK):
                part = converted(chunk[start : start + CHUNK], FLOAT64)
                _count_scaled(part, buckets, counts)
    else:
        _count_by_kernel(chunks, dtype, buckets, counts)
    counts.flags.writeable = False
    return Grid(buckets.exponent, buckets.first, counts)


def _count_by_kernel(
    chunks: Chunks, dtype: np.dtype[Any], buckets: GridRange, counts: npt.NDArray[np.int64]
) -> None:
    exponent, first, size = buckets
    is_short = max(abs(first), abs(first + size)) < _MAX_FLOAT32_NUMBER
    is_short = is_short and abs(exponent) <= _MAX_FLOAT32_EXPONENT
    number = (FLOAT32 if dtype == FLOAT32 and is_short else FLOAT64).type
    scale = number(math.ldexp(1.0, -exponent)), number(first), number(size)
    kernels = _kernels()
    scratch = np.empty(
        kernels.COUNT_BLOCK, np.uint16 if size + 2 <= kernels.MAX_SHORT_SLOT else np.uint32
    )
    # Rows that lie 4 KiB apart would wait for each other's stores.
    tables = np.zeros((kernels.TABLES, size + 18), np.uint32)
    seen = 0
    for chunk in chunks():
        if seen + chunk.size > MAX_KERNEL_VALUES:
            kernels.take_counts(tables, counts)
            seen = 0
        seen += chunk.size
        count = kernels.count_grid if chunk.size > FEW_VALUES else kernels.count_grid_of_few
        count(read_only(chunk), *scale, scratch, tables)
    kernels.take_counts(tables, counts)


def _count_scaled(
    values: npt.NDArray[np.float64], buckets: GridRange, counts: npt.NDArray[np.int64]
) -> None:
    finite = values[np.isfinite(values)]
    numbers = np.floor(np.ldexp(finite, -buckets.exponent))
    # What underflows is still below zero.
    numbers[(finite < 0) & (numbers >= 0)] = -1
    numbers = np.clip(numbers - buckets.first, 0, counts.size - 1)
    counts += np.bincount(numbers.astype(np.intp), minlength=counts.size)


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import grid_kernels

    return grid_kernels
