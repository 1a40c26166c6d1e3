"""Range, counts and exact sums of values, for statistics that merge without rounding."""

from __future__ import annotations

import dataclasses
import functools
import math
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.reduce.histogram.chunks import chunked, read_only
from boardd.reduce.histogram.thresholds import BITS

#: The exponent of the unit of exact sums, without its sign.
UNIT_BITS: Final = 1074

#: As bits of an int64 table that are in the lower row.
_LOW_BITS: Final = 32


@dataclasses.dataclass(frozen=True, slots=True)
class ExactMoments:
    """What some values add up to.

    ``num`` counts the finite ones, and ``min``, ``max`` and the sums are theirs; ``min`` and
    ``max`` are 0 if there are none. ``sum_units`` is their exact sum, and
    ``square_sum_units`` that of their squares, each square rounded to float64, both in units
    of 2**-1074. Squares that overflow float64 are in no sum but in
    ``square_overflow_count``.
    """

    num: int
    min: float
    max: float
    sum_units: int
    square_sum_units: int
    square_overflow_count: int
    nan_count: int
    positive_infinity_count: int
    negative_infinity_count: int


def exact_moments(values: npt.NDArray[Any]) -> ExactMoments:
    """Returns the moments of ``values``: any shape, a dtype that ``histogram`` takes.

    Raises ``InvalidTensorError`` for another dtype, and for values that change while they
    are read so that they have no range.
    """
    chunks, dtype = chunked(values)
    bits = BITS[dtype]
    kernels = _kernels()
    keys = np.empty(2, bits.integer)
    tables: npt.NDArray[np.int64] = np.zeros((2, 2, kernels.UNITS), np.int64)
    counts = np.zeros(5, np.int64)
    lowest, highest = math.inf, -math.inf
    units = [0, 0]
    seen = 0
    for chunk in chunks():
        if seen + chunk.size > kernels.MAX_DEPOSITS:
            units = [total + _folded(table) for total, table in zip(units, tables, strict=True)]
            tables.fill(0)
            seen = 0
        seen += chunk.size
        flat = read_only(chunk)
        found = kernels.exact_moments(
            flat,
            flat.view(bits.integer),
            bits.mask,
            bits.shift,
            bits.infinity,
            keys,
            tables[0],
            tables[1],
        )
        counts += found
        if found[0]:
            lowest = min(lowest, bits.value(keys[0]))
            highest = max(highest, bits.value(keys[1]))
    num, nan_count, positive, negative, overflows = counts.tolist()
    if not num:
        lowest = highest = 0.0
    if not -math.inf < lowest <= highest < math.inf:
        raise InvalidTensorError(
            f"values that change while they are read: from {lowest} to {highest}"
        )
    total, squares = (total + _folded(table) for total, table in zip(units, tables, strict=True))
    return ExactMoments(
        num, lowest, highest, total, squares, overflows, nan_count, positive, negative
    )


def _folded(table: npt.NDArray[np.int64]) -> int:
    used = (table[0] | table[1]).nonzero()[0]
    if not len(used):
        return 0
    first = int(used[0])
    total = 0  # in units of the first, so that it has few digits
    for index, low, high in zip((used - first).tolist(), *table[:, used].tolist(), strict=True):
        total += (low + (high << _LOW_BITS)) << index
    return total << first


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import exact_kernels

    return exact_kernels
