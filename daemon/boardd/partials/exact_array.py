"""Arrays of exact sums: whole numbers mostly, which then take 8 bytes each."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.partials.exact_sum import ExactSum, rounded

#: Whole numbers below this are kept as int64, and float64 holds them.
MAX_WHOLE: Final = 1 << 53

_UNIT_BITS: Final = 1074
_UNITS_OF_ONE: Final = 1 << _UNIT_BITS
#: Bits of half a significand, and values whose halves are added at a time: float64 holds
#: the sums.
_HALF_BITS: Final = 27
_BLOCK: Final = 65_536


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ExactArray:
    """n exact sums, as int64[n] if all are whole numbers from 0 to 2**53, else as units.

    Units are those of ``ExactSum``. Make one by ``of_units``, which chooses, or
    ``of_counts``.
    """

    counts: npt.NDArray[np.int64]
    units: tuple[int, ...] = ()

    @classmethod
    def of_units(cls, units: list[int]) -> ExactArray:
        """Returns the sums of ``units`` each."""
        whole = [number >> _UNIT_BITS for number in units]
        is_whole = all(
            0 <= number < MAX_WHOLE and number << _UNIT_BITS == unit
            for number, unit in zip(whole, units, strict=True)
        )
        if is_whole:
            return cls(_frozen(np.array(whole, np.int64)))
        return cls(_frozen(np.zeros(0, np.int64)), tuple(units))

    @classmethod
    def of_counts(cls, counts: npt.NDArray[Any]) -> ExactArray:
        """Returns the sums of one finite number each, of any dtype."""
        if counts.size and (counts >= 0).all() and (counts < MAX_WHOLE).all():
            whole = counts.astype(np.int64)
            if (whole == counts).all():
                return cls(_frozen(whole))
        return cls.of_units([ExactSum.of((value,)).units for value in counts.tolist()])

    @property
    def size(self) -> int:
        """How many sums there are."""
        return len(self.units) or self.counts.size

    def merge(self, other: ExactArray) -> ExactArray:
        """Returns the sums of both, which have one size."""
        if not self.units and not other.units:
            counts = self.counts + other.counts
            if not counts.size or counts.max() < MAX_WHOLE:
                return ExactArray(_frozen(counts))
        pairs = zip(self.all_units(), other.all_units(), strict=True)
        return ExactArray.of_units([one + two for one, two in pairs])

    def all_units(self) -> list[int]:
        """Returns the units of each sum."""
        return list(self.units) or [count << _UNIT_BITS for count in self.counts.tolist()]

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The sums, each rounded once."""
        if not self.units:
            return self.counts.astype(np.float64)
        return np.array([rounded(units, _UNITS_OF_ONE) for units in self.units])

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.counts.nbytes + sum(32 + unit.bit_length() // 8 for unit in self.units)


def bucket_sums(
    buckets: npt.NDArray[np.intp], values: npt.NDArray[np.float64], size: int
) -> ExactArray:
    """Returns the sum of the finite ``values`` in each of ``size`` buckets.

    ``buckets`` has the bucket of each value, from 0 on.
    """
    is_whole = (values == np.floor(values)) & (np.abs(values) < 1 << 20)
    if values.size < 1 << 32 and is_whole.all():
        # All partial sums are whole numbers that float64 holds.
        return ExactArray.of_counts(np.bincount(buckets, values, size))
    units = [0] * size
    for start in range(0, values.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        _add_block(buckets[part], values[part], units)
    return ExactArray.of_units(units)


def _add_block(
    buckets: npt.NDArray[np.intp], values: npt.NDArray[np.float64], units: list[int]
) -> None:
    significands, exponents = np.frexp(values)
    # Whole numbers of 53 bits, those of one bucket and exponent added up in two halves.
    digits = np.ldexp(significands, 53)
    upper = np.floor(np.ldexp(digits, -_HALF_BITS))
    lower = digits - np.ldexp(upper, _HALF_BITS)
    keys, places = np.unique(buckets * 4096 + (exponents + 2048), return_inverse=True)
    uppers = np.bincount(places, upper).tolist()
    lowers = np.bincount(places, lower).tolist()
    for key, high, low in zip(keys.tolist(), uppers, lowers, strict=True):
        bucket, exponent = divmod(key, 4096)
        total = (int(high) << _HALF_BITS) + int(low)
        shift = exponent - 2048 - 53 + _UNIT_BITS
        units[bucket] += total << shift if shift >= 0 else total >> -shift


def _frozen(array: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    array.flags.writeable = False
    return array
