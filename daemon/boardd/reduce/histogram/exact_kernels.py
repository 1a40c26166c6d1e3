"""The compiled loop that finds range and exact sums.

A float64 is a whole number of units of a power of two. A block of values has a common
unit, 50 bits below the largest of them: adding 1.5 * 2**52 units to a value leaves its
whole number of units in the bits of the sum, and those are added as integers, which
vectorises and loses nothing. What a value has below the unit goes the same way with a unit
50 bits lower. If there is still something left, as in a block with an infinity, each value is
taken apart by itself.

Importing this loads numba. The values may change while they are read; see ``counting``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import bits_of, brief_entry, callee, entry, inner
from boardd.reduce.histogram.kernels import BLOCK, key_range

#: The exponent of the unit in which every float64 is whole.
UNIT_EXPONENT: Final = -1074
#: The units of float64: of exponents from ``UNIT_EXPONENT`` on.
UNITS: Final = 2048

#: Bits of a level: the sum of a block of them, each with its sign, fits an int64.
_LEVEL_BITS: Final = 50
#: Values that may be added to a table before it is emptied.
MAX_DEPOSITS: Final = 1 << 30

#: The exponent of values above which the number that is added overflows.
_MAX_EXPONENT: Final = 1020

_FRACTION: Final = np.int64((1 << 52) - 1)
_LOW_BITS: Final = np.int64(0xFFFFFFFF)


@inner()
def _deposit(total: Any, exponent: int, table: npt.NDArray[np.int64]) -> None:
    # In two halves, so that 2**31 deposits fit.
    index = exponent - UNIT_EXPONENT
    table[0, index] += total & _LOW_BITS
    table[1, index] += total >> np.int64(32)


@inner()
def _deposit_value(value: float, table: npt.NDArray[np.int64]) -> None:
    bits = bits_of(value)
    field = (bits >> np.int64(52)) & np.int64(0x7FF)
    digits = bits & _FRACTION
    if field > 0:
        digits |= _FRACTION + np.int64(1)
    field = max(field, np.int64(1))
    _deposit(-digits if bits < 0 else digits, field - 1 + UNIT_EXPONENT, table)


@inner()
def _level(exponent: int) -> Any:
    # 1.5 * 2**52 units of 2**exponent.
    field = np.int64(exponent + 52 + 1023)
    bits: Any = (field << np.int64(52)) | (np.int64(1) << np.int64(51))
    level: Any = np.int64(bits).view(np.float64)
    return level


@inner()
def _block_sums(
    values: npt.NDArray[Any], high: float, low: float, square_high: float, square_low: float
) -> tuple[Any, Any, Any, Any, Any]:
    # Units of each level, wrapping round, and bits of what is left: 0 if nothing is.
    high_units = low_units = square_high_units = square_low_units = np.int64(0)
    left = np.int64(0)
    for index in range(values.size):
        value: Any = np.float64(values[index])
        raised = value + high
        high_units += bits_of(raised)
        rest = value - (raised - high)
        if values.itemsize == 8:
            lower = rest + low
            low_units += bits_of(lower)
            left |= bits_of(rest - (lower - low))
        else:
            left |= bits_of(rest)
        square = value * value
        square_raised = square + square_high
        square_high_units += bits_of(square_raised)
        square_rest = square - (square_raised - square_high)
        square_lower = square_rest + square_low
        square_low_units += bits_of(square_lower)
        left |= bits_of(square_rest - (square_lower - square_low))
    return high_units, low_units, square_high_units, square_low_units, left


@inner()
def _deposit_level(
    units: Any, level: float, count: int, exponent: int, table: npt.NDArray[np.int64]
) -> None:
    _deposit(units - np.int64(count) * bits_of(level), exponent, table)


@inner()
def _unit_of(exponent: int) -> int:
    unit: int = max(exponent - _LEVEL_BITS, UNIT_EXPONENT)
    return unit


@inner()
def _add_block(
    values: npt.NDArray[Any],
    largest: float,
    sums: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> bool:
    # Returns whether all is added; nothing is if not.
    exponent = math.frexp(largest)[1]
    if 2 * exponent > _MAX_EXPONENT:
        return False
    unit, square_unit = _unit_of(exponent), _unit_of(2 * exponent)
    low_unit, square_low_unit = _unit_of(unit), _unit_of(square_unit)
    high, low = _level(unit), _level(low_unit)
    square_high, square_low = _level(square_unit), _level(square_low_unit)
    high_units, low_units, square_high_units, square_low_units, left = _block_sums(
        values, high, low, square_high, square_low
    )
    if left:
        return False
    size = values.size
    _deposit_level(high_units, high, size, unit, sums)
    if values.itemsize == 8:
        _deposit_level(low_units, low, size, low_unit, sums)
    _deposit_level(square_high_units, square_high, size, square_unit, squares)
    _deposit_level(square_low_units, square_low, size, square_low_unit, squares)
    return True


@entry
def exact_moments(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    finite_keys: npt.NDArray[Any],
    sums: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> tuple[int, int, int, int, int]:
    """Returns counts, and writes range and exact sums, in one pass.

    Args:
        values: float32[n] or float64[n], n at most 2**30.
        bits, mask, shift, infinity, finite_keys: as for ``kernels.moments``.
        sums: int64[2, UNITS], to which the finite values are added: column i has multiples
            of 2**(i + UNIT_EXPONENT), the second row those of 2**32 times as much.
        squares: the same of their squares, each rounded to float64.

    Returns:
        numbers of finite values, of NaN, of positive and of negative infinities, and of
        squares that overflow float64, which are in no sum.
    """
    lowest = mask
    highest = ~mask
    finite_count = nan_count = positive_count = negative_count = overflow_count = 0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        block_bits = bits[start : start + BLOCK]
        low, high = key_range(block_bits, mask, shift)
        if high < infinity and low > ~infinity:
            finite_keys[0] = low ^ ((low >> shift) & mask)
            finite_keys[1] = high ^ ((high >> shift) & mask)
            ends = finite_keys.view(values.dtype)
            largest: Any = max(abs(np.float64(ends[0])), abs(np.float64(ends[1])))
            if _add_block(block, largest, sums, squares):
                finite_count += block.size
                lowest = min(lowest, low)
                highest = max(highest, high)
                continue
        for index in range(block.size):
            own = block_bits[index]
            magnitude = own & mask
            if magnitude < infinity:
                # Read once: the memory may change.
                finite_keys[0] = own
                value: Any = np.float64(finite_keys.view(values.dtype)[0])
                square = value * value
                _deposit_value(value, sums)
                if square < np.inf:
                    _deposit_value(square, squares)
                else:
                    overflow_count += 1
                finite_count += 1
                key = own ^ ((own >> shift) & mask)
                lowest = min(lowest, key)
                highest = max(highest, key)
            elif magnitude > infinity:
                nan_count += 1
            elif own > 0:
                positive_count += 1
            else:
                negative_count += 1
    finite_keys[0] = lowest
    finite_keys[1] = highest
    return finite_count, nan_count, positive_count, negative_count, overflow_count


_exact_moments = callee(exact_moments)


@brief_entry
def exact_moments_of_few(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    finite_keys: npt.NDArray[Any],
    sums: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> tuple[int, int, int, int, int]:
    """As ``exact_moments``, of few values."""
    found: tuple[int, int, int, int, int] = _exact_moments(
        values, bits, mask, shift, infinity, finite_keys, sums, squares
    )
    return found


@brief_entry
def take_deposits(table: npt.NDArray[np.int64], deposits: npt.NDArray[np.int64]) -> int:
    """Moves what ``exact_moments`` has added to ``table`` to ``deposits``, int64[3, UNITS].

    Returns how many columns are filled: with a column of the table, and its two rows.
    """
    count = 0
    for index in range(UNITS):
        if table[0, index] | table[1, index]:
            deposits[0, count] = index
            deposits[1, count] = table[0, index]
            deposits[2, count] = table[1, index]
            table[0, index] = table[1, index] = 0
            count += 1
    return count
