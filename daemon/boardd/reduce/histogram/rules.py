"""How many buckets of equal width NumPy's rules find fit for some values.

``numpy.histogram_bin_edges`` decides, so the answer is that of the installed
NumPy. Five things are kept from it: scales whose squares overflow, edges by
the billion, values that another process may change between one look and the
next, the 'stone' rule on large inputs, for which NumPy makes a histogram of
all values for each of up to sqrt(n) numbers of buckets, and most rules on many values, of
which it copies and sorts all: its formulas get their moments and quartiles from loops that
only read.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.histogram.bins import equal_width_edges
from boardd.reduce.histogram.chunks import CHUNK, FLOAT64, chunked, converted
from boardd.reduce.histogram.exact_moments import UNIT_BITS, ExactMoments, exact_moments
from boardd.reduce.histogram.quartiles import quartiles

#: The most buckets that a rule is given. If it asks for more (one outlier
#: is enough for 'fd', and for the 'auto' of older NumPy), the histogram has this many.
MAX_RULE_BINS: Final = 10_000

#: Up to this many buckets NumPy is let make the edges, to count them.
_MAX_COUNTED_BINS: Final = 1_000_000

#: From this many values on the rules of ``_READING`` get them from other loops than NumPy's.
_MANY: Final = 1 << 16
_READING: Final = ("auto", "doane", "fd", "rice", "sqrt", "sturges")

#: Magnitudes beyond two to the power of this, or its inverse, are rescaled.
_SAFE_EXPONENT: Final = 200


def rule_count(name: str, values: npt.NDArray[Any]) -> int:
    """Returns how many buckets the rule ``name`` gives, 1 to ``MAX_RULE_BINS``.

    Args:
        name: one of ``bins.RULES``.
        values: any shape, of bool, an integer or a float up to 64 bits. Those
            that are finite count. They are read once, to be copied as float64:
            the memory may be shared with a process that writes to it.
    """
    if values.size >= _MANY and name in _READING:
        count = _count_of_many(name, values)
        if count is not None:
            return count
    finite = _finite_copy(values)
    if finite.size == 0:
        return 1
    minimum, maximum = float(finite.min()), float(finite.max())
    if minimum == maximum:
        return 1
    exponent = math.frexp(max(abs(minimum), abs(maximum)))[1]
    if abs(exponent) > _SAFE_EXPONENT:
        # The rules are free of scale, and a power of two changes no digits. The
        # values come to lie within (-0.25, 0.25), so that their range is finite too.
        finite = np.ldexp(finite, -exponent - 2)
        minimum, maximum = float(finite.min()), float(finite.max())
    if name == "stone":
        return min(_stone_count(finite, minimum, maximum), MAX_RULE_BINS)
    with np.errstate(all="ignore"):
        # Rules by the interquartile range, whose number of buckets nothing bounds.
        if name == "fd" or (name == "auto" and not _has_bounded_auto()):
            upper, lower = np.percentile(finite, [75, 25])
            width = 2.0 * (upper - lower) / finite.size ** (1.0 / 3.0)
            if width > 0.0 and (maximum - minimum) / width > _MAX_COUNTED_BINS:
                return MAX_RULE_BINS
        try:
            count = np.histogram_bin_edges(finite, bins=name).size - 1
        except ValueError:
            # NumPy 2 refuses buckets that no double lies between.
            return MAX_RULE_BINS
    return min(count, MAX_RULE_BINS)


def _count_of_many(name: str, values: npt.NDArray[Any]) -> int | None:
    """Returns what ``rule_count`` does for a name in ``_READING``; None for unusual scales."""
    moments = exact_moments(values)
    num, minimum, maximum = moments.num, moments.min, moments.max
    distance = maximum - minimum
    if num == 0 or distance == 0:
        return 1
    exponent = math.frexp(max(abs(minimum), abs(maximum)))[1]
    if abs(exponent) > _SAFE_EXPONENT:
        return None
    by_number = distance / (float(np.log2(num)) + 1.0)
    if name == "sturges":
        width = by_number
    elif name == "sqrt":
        width = distance / math.sqrt(num)
    elif name == "rice":
        width = distance / (2.0 * num ** (1.0 / 3))
    elif name == "doane":
        width = _doane_width(values, moments)
    else:
        lower, upper = quartiles(values, num)
        width = 2.0 * (upper - lower) * num ** (-1.0 / 3.0)
        if name == "auto" and _has_bounded_auto():
            width = max(width, distance / math.sqrt(num) / 2)
        if name == "auto":
            width = min(width, by_number) if width else by_number
    if not width:
        return 1
    return min(math.ceil(min(distance / width, MAX_RULE_BINS)), MAX_RULE_BINS)


def _doane_width(values: npt.NDArray[Any], moments: ExactMoments) -> float:
    num = moments.num
    total, squares = moments.sum_units, moments.square_sum_units
    mean = total / (num << UNIT_BITS)
    # Whole numbers, of which nothing cancels.
    variance = (squares * num << UNIT_BITS) - total * total
    deviation = math.sqrt(max(variance, 0) / (num * num << 2 * UNIT_BITS))
    distance = moments.max - moments.min
    if num <= 2 or not deviation:
        return 0.0
    cubes = []
    chunks, _ = chunked(values)
    for chunk in chunks():
        for start in range(0, chunk.size, CHUNK):
            part = converted(chunk[start : start + CHUNK], FLOAT64)
            scaled = (part[np.isfinite(part)] - mean) / deviation
            cubes.append(float((scaled * scaled * scaled).sum()))
    skewness = math.fsum(cubes) / num
    error = math.sqrt(6.0 * (num - 2) / ((num + 1.0) * (num + 3)))
    shares = 1.0 + float(np.log2(num)) + float(np.log2(1.0 + abs(skewness) / error))
    return distance / shares


@functools.cache
def _has_bounded_auto() -> bool:
    """Returns whether the installed NumPy keeps 'auto' from many more than sqrt(n) buckets."""
    probe = np.append(np.linspace(0.0, 1e-3, 100), 1.0)
    return np.histogram_bin_edges(probe, "auto").size < probe.size


def _finite_copy(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the finite ones of ``values``, in memory that nobody else has."""
    # Newer NumPy warns of signalling NaNs.
    with np.errstate(invalid="ignore"):
        copy = np.array(values, np.float64, order="C").reshape(-1)
    is_finite = np.isfinite(copy)
    return copy if is_finite.all() else copy[is_finite]


def _stone_count(finite: npt.NDArray[np.float64], minimum: float, maximum: float) -> int:
    """Returns the count that minimises Stone's estimate of the leave-one-out loss.

    The same candidates and formula as NumPy's ``_hist_bin_stone``; sorting
    first makes each candidate a handful of binary searches.
    """
    size = finite.size
    if size == 1:
        return 1
    ordered = np.sort(finite)
    best, best_loss = 1, math.inf
    for count in range(1, max(100, math.isqrt(size)) + 1):
        edges = equal_width_edges(minimum, maximum, count)
        below = np.searchsorted(ordered, edges[:-1], side="left")
        shares = np.diff(np.append(below, size)) / size
        width = (maximum - minimum) / count
        if width == 0.0:
            break
        loss = (2.0 - (size + 1) * float(shares.dot(shares))) / width
        if loss < best_loss:
            best, best_loss = count, loss
    # NumPy turns the count into a width and back, which can round to one more.
    return math.ceil((maximum - minimum) / ((maximum - minimum) / best))
