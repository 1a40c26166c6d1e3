"""Whether the values of an array are sound: its norm, its zeros, what in it is no number."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: The smallest that float32 has, 1e-45: a norm of zero is shown as such a one.
_LEAST_LOG10: Final = -45.0

#: The unit of squares that overflow, and only of them, is 4 to this power. Then those of any
#: float64 add up, and what gets too small for it would not change such a sum.
_LARGE_EXPONENT: Final = 600

#: Elements that are converted at a time.
_CHUNK: Final = 1 << 16


@dataclass(slots=True)  # a frozen one takes twice as long to make, and many are made
class ArrayHealth:
    """Of ``count`` elements, those that are zero, NaN or infinite; and the others' squares.

    ``sum_squares``, which is finite, is in units of ``4 ** exponent``.
    """

    count: int = 0
    sum_squares: float = 0.0
    zeros: int = 0
    nans: int = 0
    infinities: int = 0
    exponent: int = 0

    def __add__(self, other: ArrayHealth) -> ArrayHealth:
        """Returns that of both together."""
        exponent = max(self.exponent, other.exponent)
        sum_squares = self._squares_in(exponent) + other._squares_in(exponent)
        if math.isinf(sum_squares):
            exponent = _LARGE_EXPONENT
            sum_squares = self._squares_in(exponent) + other._squares_in(exponent)
        return ArrayHealth(
            self.count + other.count,
            sum_squares,
            self.zeros + other.zeros,
            self.nans + other.nans,
            self.infinities + other.infinities,
            exponent,
        )

    def _squares_in(self, exponent: int) -> float:
        if exponent == self.exponent:
            return self.sum_squares
        return math.ldexp(self.sum_squares, 2 * (self.exponent - exponent))

    @property
    def norm(self) -> float:
        """The Euclidean norm of the finite elements; at most the greatest float64."""
        return min(math.sqrt(self.sum_squares) * 2.0**self.exponent, sys.float_info.max)

    @property
    def log10_norm(self) -> float:
        """Its decimal logarithm, -45 at least; layers differ by orders of magnitude."""
        if not self.sum_squares:
            return _LEAST_LOG10
        log10 = 0.5 * math.log10(self.sum_squares) + self.exponent * math.log10(2)
        return max(log10, _LEAST_LOG10)

    @property
    def has_finite(self) -> bool:
        """Whether any element is a finite number."""
        return self.count > self.nans + self.infinities

    @property
    def zero_share(self) -> float:
        """Which share of the elements is zero, 0 to 1; 0 without elements."""
        return self.zeros / self.count if self.count else 0.0

    @property
    def is_finite(self) -> bool:
        """Whether every element is a finite number."""
        return not (self.nans or self.infinities)


def array_health(values: NDArray[Any]) -> ArrayHealth:
    """Returns that of ``values``, of any shape and of numbers of any dtype.

    Squares are summed as float64, and do not overflow.
    """
    flat = values.reshape(-1)
    # Newer NumPy warns of squares that overflow, which are seen to below.
    with np.errstate(over="ignore", invalid="ignore"):
        total = _of_chunk(flat[:_CHUNK])
        for begin in range(_CHUNK, flat.size, _CHUNK):
            total += _of_chunk(flat[begin : begin + _CHUNK])
    return total


def _of_chunk(chunk: NDArray[Any]) -> ArrayHealth:
    values = chunk.astype(np.float64)
    zeros = values.size - int(np.count_nonzero(values))
    sum_squares = float(np.dot(values, values))
    if math.isfinite(sum_squares):  # nearly always, and then each value is
        return ArrayHealth(values.size, sum_squares, zeros)
    nans = int(np.count_nonzero(np.isnan(values)))
    infinities = int(np.count_nonzero(np.isinf(values)))
    finite = values[np.isfinite(values)]
    exponent = 0
    sum_squares = float(np.dot(finite, finite))
    if not math.isfinite(sum_squares):
        exponent = _LARGE_EXPONENT
        finite *= 2.0**-exponent
        sum_squares = float(np.dot(finite, finite))
    return ArrayHealth(values.size, sum_squares, zeros, nans, infinities, exponent)
