"""Range, counts and exact sums of values, for statistics that merge without rounding."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.reduce import readiness
from boardd.reduce.histogram import plain
from boardd.reduce.histogram.chunks import FEW_VALUES, Chunks, chunked, read_only
from boardd.reduce.histogram.thresholds import BITS

#: The exponent of the unit of exact sums, without its sign.
UNIT_BITS: Final = 1074

#: As bits of an int64 table that are in the lower row.
_LOW_BITS: Final = 32


@dataclasses.dataclass(slots=True)
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
    if readiness.are_awaited():
        return _plain(chunks)
    bits = BITS[dtype]
    kernels = _kernels()
    keys = np.empty(2, bits.integer)
    num = nan_count = positive = negative = overflows = 0
    lowest, highest = math.inf, -math.inf
    total = squares = seen = 0
    tables = _Tables.taken()
    for chunk in chunks():
        if seen + chunk.size > kernels.MAX_DEPOSITS:
            total, squares = total + tables.fold(0), squares + tables.fold(1)
            seen = 0
        seen += chunk.size
        flat = read_only(chunk)
        is_few = chunk.size <= FEW_VALUES
        moments = kernels.exact_moments_of_few if is_few else kernels.exact_moments
        found = moments(
            flat,
            flat.view(bits.integer),
            bits.mask,
            bits.shift,
            bits.infinity,
            keys,
            tables.sums,
            tables.squares,
        )
        num, nan_count, overflows = num + found[0], nan_count + found[1], overflows + found[4]
        positive, negative = positive + found[2], negative + found[3]
        if found[0]:
            lowest = min(lowest, bits.value(keys[0]))
            highest = max(highest, bits.value(keys[1]))
    total, squares = total + tables.fold(0), squares + tables.fold(1)
    tables.give_back()
    if not num:
        lowest = highest = 0.0
    if not -math.inf < lowest <= highest < math.inf:
        raise InvalidTensorError(
            f"values that change while they are read: from {lowest} to {highest}"
        )
    return ExactMoments(
        num, lowest, highest, total, squares, overflows, nan_count, positive, negative
    )


def _plain(chunks: Chunks) -> ExactMoments:
    num, lowest, highest, _, _, not_finite = plain.moments(chunks)
    return ExactMoments(num, lowest, highest, *plain.exact_sums(chunks), *not_finite)


class _Tables:
    """Tables that are empty whenever they are taken: to make them takes longer."""

    #: For whoever comes next; threads may take and give them back at the same time.
    _free: ClassVar[deque[_Tables]] = deque(maxlen=16)

    def __init__(self) -> None:
        units = _kernels().UNITS
        self.sums, self.squares = np.zeros((2, 2, units), np.int64)
        self._deposits = np.empty((3, units), np.int64)

    @classmethod
    def taken(cls) -> _Tables:
        """Returns tables that nobody else has until they are given back."""
        try:
            return cls._free.pop()
        except IndexError:
            return cls()

    def give_back(self) -> None:
        """Lets the next take them."""
        self._free.append(self)

    def fold(self, which: int) -> int:
        """Empties the sums, or with 1 the squares. Returns what they add up to, in units."""
        count = _kernels().take_deposits(self.squares if which else self.sums, self._deposits)
        return added_up(*self._deposits[:, :count].tolist())


def added_up(indexes: Sequence[int], lows: Sequence[int], highs: Sequence[int]) -> int:
    """Returns what the columns of a table add up to, in units.

    They are at ``indexes``, which rise; ``lows`` and ``highs`` are their rows.
    """
    if not indexes:
        return 0
    first = indexes[0]
    total = 0  # in units of the first, so that it has few digits
    for index, low, high in zip(indexes, lows, highs, strict=True):
        total += (low + (high << _LOW_BITS)) << (index - first)
    return total << first


@contextlib.contextmanager
def tables_of_sums() -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yields int64[2, UNITS] twice, of zeros, for a kernel that leaves zeros."""
    tables = _Tables.taken()
    yield tables.sums, tables.squares
    tables.give_back()


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import exact_kernels

    return exact_kernels
