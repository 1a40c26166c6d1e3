"""Edges of buckets, made ready for comparison in the type of the values.

NumPy compares every value with float64 edges. For float32 values the same
answers come from float32 thresholds, which are twice as fast: ``value >= edge``
holds exactly when ``value`` is no less than the smallest float32 that is no
less than ``edge``. The last bucket includes its upper edge, so the last
threshold is the smallest number above it. A value's slot is then the number of
thresholds at or below it: 0 below all buckets, i + 1 in bucket i, n + 1 above.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Up to this many values are compared with the edges themselves if these are about equally
#: far from each other: making thresholds would take longer.
DIRECT_SIZE: Final = 16_384

#: The widest tolerance of ``Uniform``: the share of doubtful values is about twice this.
MAX_TOLERANCE: Final = 1e-3

#: From this many values on a table of starts pays for itself.
_KEYED_SIZE: Final = 8192

#: Bits of a float's key below sign and exponent that the table of starts
#: tells apart: 16 ranges per power of two, the exponential edges have 7.3.
_KEY_FRACTION_BITS: Final = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Bits:
    """How a float's bits are handled as the signed integer of the same size."""

    integer: type[np.signedinteger[Any]]
    size: int  #: in bits
    fraction: int  #: bits of the significand that are stored

    @functools.cached_property
    def mask(self) -> Any:
        """All bits but the sign."""
        return self.integer(np.iinfo(self.integer).max)

    @functools.cached_property
    def shift(self) -> Any:
        """Shifts the sign to the lowest bit."""
        return self.integer(self.size - 1)

    @functools.cached_property
    def infinity(self) -> Any:
        """The bits of positive infinity."""
        return self.integer(((1 << (self.size - 1 - self.fraction)) - 1) << self.fraction)

    def keys(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns integers that sort as the float ``values`` do, minus zero below zero."""
        bits = values.view(self.integer)
        keys: npt.NDArray[Any] = bits ^ ((bits >> self.shift) & self.mask)
        return keys

    def value(self, key: np.signedinteger[Any]) -> float:
        """Returns the float of ``key``, with plain zero for minus zero."""
        number = int(key)
        number ^= (number >> int(self.shift)) & int(self.mask)
        integer, real = ("<i", "<f") if self.size == 32 else ("<q", "<d")
        found: float = struct.unpack(real, struct.pack(integer, number))[0]
        return found + 0.0


BITS: Final = {
    np.dtype(np.float32): Bits(np.int32, 32, 23),
    np.dtype(np.float64): Bits(np.int64, 64, 52),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Uniform:
    """Thresholds at about equal distances; scalars are of the type of the values."""

    thresholds: npt.NDArray[Any]  #: [bins + 3]: -inf, the bins + 1 thresholds, NaN
    first: Any
    last: Any
    scale: Any
    count: Any
    half: Any
    tolerance: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Keyed:
    """Thresholds at any distances, found by the upper bits of a value."""

    thresholds: npt.NDArray[Any]  #: the bins + 1 thresholds, padded with NaN
    starts: npt.NDArray[np.uint32]
    steps: int
    key_shift: Any
    lowest_key: Any


def thresholds(edges: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns the thresholds of float64[n + 1] ``edges`` for values of ``dtype``.

    ``dtype`` is float32 or float64. Edges beyond the range of float32 become
    its largest number or infinity, which finite values compare with as they
    should.
    """
    with np.errstate(over="ignore", under="ignore"):
        rounded = edges.astype(dtype)
        infinity = dtype.type(np.inf)
        wide = rounded.astype(np.float64)
        rounded = np.where(wide < edges, np.nextafter(rounded, infinity), rounded)
        if float(rounded[-1]) == edges[-1]:
            rounded[-1] = np.nextafter(rounded[-1], infinity)
    # Without minus zeros, whose keys would lie below zero's.
    points: npt.NDArray[Any] = rounded.astype(dtype) + dtype.type(0)
    return points


def uniform(edges: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> Uniform | None:
    """Returns ``edges`` as ``Uniform`` thresholds for ``dtype``, or None if they are not.

    A value's position is ``(value - first) * scale`` rounded to ``dtype``,
    which never falls when the value rises. Let no threshold's own position
    be further than t from its number k. Then a value whose position is below
    k - t is below threshold k, and one above k + t is above it: positions
    further than t from every whole number need no comparison, whatever was
    lost in rounding. This holds for any edges; if t is small it saves
    nearly all comparisons.
    """
    bins = edges.size - 1
    number = dtype.type
    points = thresholds(edges, dtype)
    count = number(bins)
    with np.errstate(all="ignore"):
        first = points[0]
        last = np.nextafter(points[-1], number(-np.inf))
        scale = number(bins / (np.float64(last) - np.float64(first)))
        positions = (points - first) * scale + number(1)
        drift = np.abs(positions.astype(np.float64) - np.arange(1, bins + 2)).max()
    # Two roundings more: a compiler may fuse the operations, which moves every
    # position by half a rounding and leaves their order.
    tolerance = float(drift) + bins * float(np.finfo(dtype).eps)
    if not (math.isfinite(scale) and scale > 0 and tolerance <= MAX_TOLERANCE):
        return None
    padded = np.empty(bins + 3, dtype)
    padded[0] = -np.inf
    padded[1:-1] = points
    padded[-1] = np.nan
    return Uniform(padded, first, last, scale, count, number(0.5), number(tolerance))


def keyed(edges: npt.NDArray[np.float64], dtype: np.dtype[Any], size: int) -> Keyed:
    """Returns ``edges`` as ``Keyed`` thresholds for ``size`` values of ``dtype``."""
    bits = BITS[dtype]
    points = thresholds(edges, dtype)
    # Shifting by one bit less than all tells apart the signs alone.
    key_shift = bits.fraction - _KEY_FRACTION_BITS if size >= _KEYED_SIZE else bits.size - 1
    lowest_key = np.iinfo(bits.integer).min >> key_shift
    ranges = (bits.keys(points) >> bits.integer(key_shift)) - bits.integer(lowest_key)
    held = np.bincount(ranges, minlength=-2 * lowest_key)
    starts = np.zeros(held.size, np.uint32)
    np.cumsum(held[:-1], out=starts[1:])
    steps = int(held.max()).bit_length()
    padded = np.full(points.size + (1 << steps), np.nan, dtype)
    padded[: points.size] = points
    return Keyed(padded, starts, steps, bits.integer(key_shift), bits.integer(lowest_key))
