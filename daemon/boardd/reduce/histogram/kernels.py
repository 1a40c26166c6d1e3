"""The compiled loop that finds range, sums and what is not finite.

Loops here and in ``counting`` are written for the vectoriser of LLVM: blocks
that stay in the first level of cache, one simple loop per step, no branch
inside. Importing either loads numba (``compiled``): ``histogram`` does it when
the first values arrive.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import entry, inner

#: Elements per block: 16 or 32 KiB.
BLOCK: Final = 4096


@inner()
def key_range(bits: npt.NDArray[Any], mask: Any, shift: Any) -> tuple[Any, Any]:
    """Returns the lowest and the highest key of some floats, see ``thresholds.Bits.keys``."""
    # Flipping the magnitude of negative floats makes their bits sort as integers,
    # and integer minima vectorise, while float ones, for the sake of NaN, do not.
    lowest = bits[0] ^ ((bits[0] >> shift) & mask)
    highest = lowest
    for index in range(bits.size):
        key = bits[index] ^ ((bits[index] >> shift) & mask)
        lowest = min(lowest, key)
        highest = max(highest, key)
    return lowest, highest


@inner(fastmath={"reassoc", "contract"})
def _block_sums(values: npt.NDArray[Any]) -> tuple[float, float]:
    total = 0.0
    squares = 0.0
    for index in range(values.size):
        value: Any = np.float64(values[index])
        total += value
        squares += value * value
    return total, squares


@entry
def moments(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    finite_keys: npt.NDArray[Any],
) -> tuple[Any, Any, float, float, int, int, int]:
    """Returns range, sums and counts of what is not finite, in one pass.

    Args:
        values: float32[n] or float64[n].
        bits: the same memory as signed integers of the same size.
        mask: all bits but the sign, of that integer type.
        shift: the number of bits less one, of that integer type.
        infinity: the bits of positive infinity, of that integer type.
        finite_keys: two elements of that type, of which the lowest and
            highest key of the finite values are written; the first is above
            the second if there are none.

    Returns:
        sum, its compensation (to be added last), sum of squares, number of
        finite values, of NaN, of positive and of negative infinities. The
        sums are float64 over blocks, whose sums are added with compensation.
    """
    lowest = mask
    highest = ~mask
    total = 0.0
    compensation = 0.0
    squares = 0.0
    finite_count = 0
    nan_count = 0
    positive_count = 0
    negative_count = 0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        block_bits = bits[start : start + BLOCK]
        low, high = key_range(block_bits, mask, shift)
        if high < infinity and low > ~infinity:
            block_total, block_squares = _block_sums(block)
            finite_count += block.size
            lowest = min(lowest, low)
            highest = max(highest, high)
        else:
            block_total = 0.0
            block_squares = 0.0
            for index in range(block.size):
                own = block_bits[index]
                magnitude = own & mask
                if magnitude < infinity:
                    value: Any = np.float64(block[index])
                    block_total += value
                    block_squares += value * value
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
        added = total + block_total
        if abs(total) >= abs(block_total):
            compensation += (total - added) + block_total
        else:
            compensation += (block_total - added) + total
        total = added
        squares += block_squares
    finite_keys[0] = lowest
    finite_keys[1] = highest
    return (
        total,
        compensation,
        squares,
        finite_count,
        nan_count,
        positive_count,
        negative_count,
    )
