"""Scalars of several ranks: their mean, sum, extremes with the ranks that own them, the last.

``Scalars`` is the value that merges one by one. ``reduce_columns`` makes the same of many
tags at once, as the close of a window needs it.

What is shown is what one would compute of all contributions together: NaN among them makes
mean and sum NaN, and an infinity makes them infinite. Extremes and the last value leave
nothing to compute: the extremes are those of the contributions that are numbers, infinities
included, and NaN if none is.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.merging import REDUCTIONS

from boardd.partials.exact_sum import ExactSum, FloatSum

#: Levels of ``column_sums``, and the exponent of the smallest float64.
_LEVELS: Final = 2
_LEAST_EXPONENT: Final = -1074


@dataclasses.dataclass(frozen=True, slots=True)
class Owned:
    """A value, and the rank that contributed it: the lowest one of equals."""

    value: float
    rank: int


@dataclasses.dataclass(frozen=True, slots=True)
class Last:
    """The value with the latest wall time, in seconds since the epoch; see ``Owned``."""

    wall_time: float
    rank: int
    value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scalars:
    """Contributions to a scalar.

    Zeros and NaN have no sign.
    """

    count: int
    sum: FloatSum
    min: Owned
    max: Owned
    last: Last

    @classmethod
    def of(cls, rank: int, wall_time: float, value: float) -> Scalars:
        """Returns one contribution."""
        value = math.nan if math.isnan(value) else value + 0.0
        owned = Owned(value, rank)
        return cls(1, FloatSum.of(value), owned, owned, Last(wall_time, rank, value))

    @property
    def form(self) -> tuple[Any, ...]:
        """All scalars merge."""
        return ()

    def merge(self, *others: Scalars) -> Scalars:
        """Returns the contributions of all."""
        total = self.sum
        for other in others:
            total = total.merge(other.sum)
        parts = (self, *others)
        return Scalars(
            sum(part.count for part in parts),
            total,
            min((part.min for part in parts), key=_lowest_first),
            min((part.max for part in parts), key=_highest_first),
            min((part.last for part in parts), key=_latest_first),
        )

    def value(self, reduce: str) -> float:
        """Returns what the contributions make together; ``reduce`` is one of ``REDUCTIONS``.

        A sum is rounded once, and a mean is that sum divided by the count. Raises
        ``ValueError`` for another name.
        """
        check_reduction(reduce)
        if reduce == "min":
            return self.min.value
        if reduce == "max":
            return self.max.value
        if reduce == "last":
            return self.last.value
        return self.sum.value if reduce == "sum" else self.sum.mean(self.count)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return 512 + self.sum.size_bytes


def check_reduction(reduce: str) -> None:
    """Raises ``ValueError`` unless ``reduce`` is one of ``REDUCTIONS`` or empty."""
    if reduce and reduce not in REDUCTIONS:
        raise ValueError(f"reduce {reduce!r}; use one of {', '.join(REDUCTIONS)}")


def _lowest_first(owned: Owned) -> tuple[bool, float, int]:
    is_nan = math.isnan(owned.value)
    return is_nan, 0.0 if is_nan else owned.value, owned.rank


def _highest_first(owned: Owned) -> tuple[bool, float, int]:
    is_nan = math.isnan(owned.value)
    return is_nan, 0.0 if is_nan else -owned.value, owned.rank


def _latest_first(last: Last) -> tuple[float, int, bool, float]:
    is_nan = math.isnan(last.value)
    return -last.wall_time, last.rank, is_nan, 0.0 if is_nan else last.value


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What ``reduce_columns`` finds of T tags; every array has the shape [T].

    Of a tag without a contribution, values are NaN, ranks -1, and the wall time is 0.
    """

    value: npt.NDArray[np.float64]
    min: npt.NDArray[np.float64]
    max: npt.NDArray[np.float64]
    min_rank: npt.NDArray[np.int64]
    max_rank: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    wall_time: npt.NDArray[np.float64]  #: the latest, in seconds since the epoch


def reduce_columns(
    value: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
    wall_time: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.int64],
    reduce: str,
) -> Columns:
    """Returns what the ranks make of each tag: what ``Scalars`` does, bit for bit.

    Args:
        value: float64[R, T], a row for each rank.
        present: bool[R, T], whether the rank has contributed; what is not is not looked at.
        wall_time: float64[R, T], in seconds since the epoch.
        ranks: int64[R], distinct, in any order.
        reduce: one of ``REDUCTIONS``; empty: "mean".

    Raises ``ValueError`` for another ``reduce``.
    """
    check_reduction(reduce)
    if not ranks.size:
        # A row of what is absent, so that every column has a first one.
        value = wall_time = np.zeros((1, value.shape[1]))
        present, ranks = value.astype(bool), np.array([-1])
    order = np.argsort(ranks, kind="stable")
    ranks, present = ranks[order], present[order]
    times = np.where(present, wall_time[order], -np.inf)
    values = np.where(present, value[order], np.nan) + 0.0
    count = np.count_nonzero(present, axis=0)

    is_number = ~np.isnan(values)
    lowest = np.where(is_number, values, np.inf).min(axis=0, initial=np.inf)
    highest = np.where(is_number, values, -np.inf).max(axis=0, initial=-np.inf)
    latest = times.max(axis=0, initial=-np.inf)
    has_number = is_number.any(axis=0)
    # Ranks ascend: the first of equals is the lowest one's.
    min_row = np.where(has_number, is_number & (values == lowest), present).argmax(axis=0)
    max_row = np.where(has_number, is_number & (values == highest), present).argmax(axis=0)
    lowest[~has_number] = highest[~has_number] = np.nan
    if reduce == "min":
        shown = lowest
    elif reduce == "max":
        shown = highest
    elif reduce == "last":
        last_row = (present & (times == latest)).argmax(axis=0)
        shown = np.take_along_axis(values, last_row[np.newaxis], axis=0)[0]
    else:
        shown = _sums(values, present, count, is_mean=reduce != "sum")
    shown = np.where(count, shown, np.nan)
    return Columns(
        shown,
        lowest,
        highest,
        np.where(count, ranks[min_row], -1),
        np.where(count, ranks[max_row], -1),
        count,
        np.where(count, latest, 0.0),
    )


def _sums(
    values: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
    count: npt.NDArray[np.int64],
    *,
    is_mean: bool,
) -> npt.NDArray[np.float64]:
    is_finite = np.isfinite(values)
    finite = np.where(is_finite, values, 0.0)
    sums = column_sums(finite)
    shown = sums / np.maximum(count, 1) if is_mean else sums
    if is_mean:
        for tag in np.flatnonzero(np.isinf(sums)).tolist():
            # The sum overflows, the mean does not.
            shown[tag] = ExactSum.of(finite[:, tag].tolist()).mean(int(count[tag]))
    if not (is_finite | ~present).all():
        # The others make it NaN or infinite: NaN and opposite infinities add up to NaN.
        with np.errstate(invalid="ignore"):
            others = np.where(present & ~is_finite, values, 0.0).sum(axis=0)
        shown = np.where(others == 0, shown, others)
    return shown


def column_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the sum of each column of finite ``values``, float64[R, T], rounded once.

    Adding 1.5 * 2**52 units to a value and taking it away again leaves the whole units of
    it. With as many bits above the unit as keep the sum of a column whole in float64, sums of
    two such levels are exact, and adding both rounds once. The few columns whose values
    have digits below both levels are added one by one.
    """
    level_bits = 52 - values.shape[0].bit_length()
    exponents = np.frexp(np.abs(values).max(axis=0))[1].astype(np.int64)
    totals = np.zeros(values.shape[1])
    rest = values.copy()
    upper = np.empty_like(rest)
    # What overflows is not finite, and so not 0.
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(_LEVELS):
            exponents = np.maximum(exponents - level_bits, _LEAST_EXPONENT)
            raising = np.ldexp(1.5, exponents + 52)
            np.add(rest, raising, out=upper)
            upper -= raising
            rest -= upper
            totals += upper.sum(axis=0)
    for tag in np.flatnonzero((rest != 0).any(axis=0)).tolist():
        totals[tag] = ExactSum.of(values[:, tag].tolist()).value
    return totals + 0.0
