"""What the kernels find, by NumPy: slower, and without anything to compile.

Counts, ranges and exact sums are the same. Sums in float64 are added in another order, as on
another processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from boardd.reduce.histogram.chunks import CHUNK, FLOAT64, Chunks, converted

#: A float64 is ``digits * 2**(exponent - _DIGITS)``, with a whole number of this many bits.
_DIGITS: Final = 53
_LOW_BITS: Final = 32
_LOW: Final = np.int64((1 << _LOW_BITS) - 1)


class Moments(NamedTuple):
    """Of finite values; ``lowest`` and ``highest`` are 0 if there are none.

    ``total`` is NaN if it or the sum of a part overflows. ``not_finite`` counts NaN, inf and -inf.
    """

    num: int
    lowest: float
    highest: float
    total: float
    squares: float
    not_finite: tuple[int, int, int]


def added(parts: Sequence[float]) -> float:
    """Returns the sum of ``parts``; NaN if it or one of them is not finite."""
    try:
        total = math.fsum(parts)
    except (OverflowError, ValueError):  # ValueError: infinities of both signs
        return math.nan
    return total if math.isfinite(total) else math.nan


def moments(chunks: Chunks) -> Moments:
    """Returns the moments of all ``chunks``, float32 or float64."""
    num = nan_count = positive = negative = 0
    lowest, highest = math.inf, -math.inf
    totals: list[float] = []
    squares: list[float] = []
    for values in _copies(chunks):
        finite = values[np.isfinite(values)]
        nans = int(np.isnan(values).sum())
        above = int((values == math.inf).sum())
        nan_count, positive = nan_count + nans, positive + above
        negative += values.size - finite.size - nans - above
        num += finite.size
        if finite.size:
            lowest = min(lowest, float(finite.min()))
            highest = max(highest, float(finite.max()))
            with np.errstate(over="ignore", invalid="ignore"):
                totals.append(float(np.add.reduce(finite)))
                squares.append(float(np.add.reduce(finite * finite)))
    if not num:
        lowest = highest = 0.0
    total = added(totals)
    # Plain zeros for minus zeros.
    return Moments(
        num, lowest + 0.0, highest + 0.0, total, sum(squares), (nan_count, positive, negative)
    )


def count(chunks: Chunks, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns the counts, int64[n], of finite values between n + 1 ``edges``, as NumPy does."""
    below: npt.NDArray[np.int64] = np.zeros(edges.size, np.int64)
    for part in _parts(chunks):
        # float32 is sorted in half the time.
        ordered = np.sort(part[np.isfinite(part)]).astype(np.float64)
        below[:-1] += ordered.searchsorted(edges[:-1], "left")
        below[-1] += ordered.searchsorted(edges[-1], "right")
    return np.diff(below)


def quartiles(chunks: Chunks, num: int) -> tuple[float, float]:
    """Returns the lower and the upper quartile of the ``num`` finite values.

    Copies them as float64.
    """
    finite = np.empty(num)
    found = 0
    for values in _copies(chunks):
        # More may be finite by now: others may write to them.
        part = values[np.isfinite(values)][: num - found]
        finite[found : found + part.size] = part
        found += part.size
    if not found:
        return 0.0, 0.0
    lower, upper = np.percentile(finite[:found], (25, 75), overwrite_input=True)
    return float(lower), float(upper)


class ExactSums(NamedTuple):
    """``total`` and ``squares`` in units of 2**-1074, and how many squares overflow."""

    total: int
    squares: int
    overflows: int


def exact_sums(chunks: Chunks) -> ExactSums:
    """Returns exact sums of finite values, and of their squares, each rounded to float64."""
    total = squares = overflows = 0
    for values in _copies(chunks):
        finite = values[np.isfinite(values)]
        with np.errstate(over="ignore"):
            squared = finite * finite
        is_bounded = np.isfinite(squared)
        overflows += int(squared.size - is_bounded.sum())
        total += _exact_sum(finite)
        squares += _exact_sum(squared[is_bounded])
    return ExactSums(total, squares, overflows)


def _exact_sum(values: npt.NDArray[np.float64]) -> int:
    significands, exponents = np.frexp(values)
    digits = np.ldexp(significands, _DIGITS).astype(np.int64)
    order = np.argsort(exponents, kind="stable")
    digits, exponents = digits[order], exponents[order]
    starts = np.flatnonzero(np.diff(exponents, prepend=exponents[:1] - 1))
    if not starts.size:
        return 0
    # In two halves, so that no sum of a chunk overflows.
    lows = np.add.reduceat(digits & _LOW, starts).tolist()
    highs = np.add.reduceat(digits >> _LOW_BITS, starts).tolist()
    total = 0
    for low, high, exponent in zip(lows, highs, exponents[starts].tolist(), strict=True):
        number = low + (high << _LOW_BITS)
        shift = exponent - _DIGITS + 1074
        # A subnormal number has fewer digits: what is shifted out is zero.
        total += number << shift if shift >= 0 else number >> -shift
    return total


def _copies(chunks: Chunks) -> Iterator[npt.NDArray[np.float64]]:
    """Yields all values as float64[n], copied: others may write to them meanwhile."""
    for part in _parts(chunks):
        yield part.copy() if part.dtype == FLOAT64 else converted(part, FLOAT64)


def _parts(chunks: Chunks) -> Iterator[npt.NDArray[Any]]:
    for chunk in chunks():
        for start in range(0, chunk.size, CHUNK):
            yield chunk[start : start + CHUNK]
