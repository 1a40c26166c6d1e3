"""How many buckets of equal width NumPy's rules find fit for some values.

``numpy.histogram_bin_edges`` decides, so the answer is that of the installed
NumPy. Four things are kept from it: scales whose squares overflow, edges by
the billion, values that another process may change between one look and the
next, and the 'stone' rule on large inputs, for which NumPy makes a histogram of
all values for each of up to sqrt(n) numbers of buckets.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.histogram.bins import equal_width_edges

#: The most buckets that a rule is given. If it asks for more (one outlier
#: is enough for 'fd' and 'auto'), the histogram has this many.
MAX_RULE_BINS: Final = 10_000

#: Up to this many buckets NumPy is let make the edges, to count them.
_MAX_COUNTED_BINS: Final = 1_000_000

#: Rules by the interquartile range, whose number of buckets nothing bounds.
_UNBOUNDED: Final = ("auto", "fd")

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
        if name in _UNBOUNDED:
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
