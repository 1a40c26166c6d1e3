"""Sums of floats that are exact until they are shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

#: A sum is a whole number of the smallest float64.
_UNIT_EXPONENT: Final = -1074
_UNITS_OF_ONE: Final = 1 << -_UNIT_EXPONENT


@dataclasses.dataclass(frozen=True, slots=True)
class ExactSum:
    """A sum of finite floats, as the whole number ``units`` of 2**-1074."""

    units: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> ExactSum:
        """Returns the sum of finite ``values``."""
        total = 0
        for value in values:
            numerator, denominator = value.as_integer_ratio()
            total += numerator * (_UNITS_OF_ONE // denominator)
        return cls(total)

    def merge(self, other: ExactSum) -> ExactSum:
        """Returns the sum of both."""
        return ExactSum(self.units + other.units)

    @property
    def fraction(self) -> Fraction:
        """The sum itself."""
        return Fraction(self.units, _UNITS_OF_ONE)

    @property
    def value(self) -> float:
        """The nearest float64, infinite past its range; what ``math.fsum`` returns."""
        return rounded(self.units, _UNITS_OF_ONE)

    def mean(self, count: int) -> float:
        """Returns ``value / count``, or the exact quotient rounded if ``value`` is infinite."""
        total = self.value
        return total / count if math.isfinite(total) else rounded(self.units, _UNITS_OF_ONE * count)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return self.units.bit_length() // 8 + 32


#: The sum of nothing.
ZERO: Final = ExactSum()


@dataclasses.dataclass(frozen=True, slots=True)
class FloatSum:
    """A sum of any floats: ``finite`` sums up the finite ones, and the others are counted."""

    finite: ExactSum = ZERO
    nan_count: int = 0
    positive_infinity_count: int = 0
    negative_infinity_count: int = 0

    @classmethod
    def of(cls, value: float) -> FloatSum:
        """Returns the sum of one ``value``."""
        if math.isfinite(value):
            return cls(ExactSum.of((value,)))
        return cls(ZERO, int(math.isnan(value)), int(value == math.inf), int(value == -math.inf))

    def merge(self, other: FloatSum) -> FloatSum:
        """Returns the sum of both."""
        return FloatSum(
            self.finite.merge(other.finite),
            self.nan_count + other.nan_count,
            self.positive_infinity_count + other.positive_infinity_count,
            self.negative_infinity_count + other.negative_infinity_count,
        )

    @property
    def value(self) -> float:
        """What adding all up shows; NaN also for opposite infinities."""
        return self.mean(1)

    def mean(self, count: int) -> float:
        """Returns ``value / count``, as ``ExactSum.mean``."""
        if self.nan_count or (self.positive_infinity_count and self.negative_infinity_count):
            return math.nan
        if self.positive_infinity_count:
            return math.inf
        if self.negative_infinity_count:
            return -math.inf
        return self.finite.mean(count)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return 128 + self.finite.size_bytes


def rounded(numerator: int, denominator: int) -> float:
    """Returns the float64 that is nearest to a quotient of integers, infinite past its range."""
    try:
        # Python rounds the quotient of two integers once.
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf
