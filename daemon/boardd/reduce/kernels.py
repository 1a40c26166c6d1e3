"""Compiled loops over float32 and float64 values that run without the GIL.

Importing this module imports numba, which costs a tenth of a second and tens
of megabytes: ``histogram`` does it when the first values arrive. Compiled code
is kept on disk beside the module or in the user's cache directory; where
neither can be written it is compiled anew in each process.

Two loops see the values. ``moments`` finds range, sums and what is not finite.
``count_uniform`` or ``count_keyed`` finds the slot of each value: the number
of thresholds (``thresholds.py``) at or below it.

Loops are written for the vectoriser of LLVM: blocks that stay in the first
level of cache, one simple loop per step, no branch inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
import numpy as np
import numpy.typing as npt

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Elements per block of ``moments``: 16 or 32 KiB.
_MOMENTS_BLOCK: Final = 4096

#: Elements per block of the counting loops: small, since one doubtful value
#: sends its block of ``count_uniform`` through the slower loop.
_COUNT_BLOCK: Final = 128

#: Count tables that neighbouring values take in turn, so that a run of equal
#: values does not wait for its own last increment.
TABLES: Final = 4


def _inner(**flags: Any) -> Callable[[_Function], _Function]:
    """Compiles a function that only compiled functions call."""

    def compiled(function: _Function) -> _Function:
        kernel: _Function = numba.njit(nogil=True, **flags)(function)
        return kernel

    return compiled


def _entry(function: _Function) -> Callable[..., Any]:
    """Compiles a function that Python calls, with a cache on disk if there can be one."""
    try:
        kernel = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba: no directory for the cache
        kernel = numba.njit(nogil=True)(function)

    def call(*arguments: Any) -> Any:
        try:
            return kernel(*arguments)
        except OSError:
            # The cache could not be written, on a full disk for one. Numba has
            # kept the compiled code by then.
            return kernel(*arguments)

    return call


@_inner()
def _key_range(bits: npt.NDArray[Any], mask: Any, shift: Any) -> tuple[Any, Any]:
    # Flipping the magnitude of negative floats makes their bits sort as integers,
    # and integer minima vectorise where float ones, for the sake of NaN, do not.
    lowest = bits[0] ^ ((bits[0] >> shift) & mask)
    highest = lowest
    for index in range(bits.size):
        key = bits[index] ^ ((bits[index] >> shift) & mask)
        lowest = min(lowest, key)
        highest = max(highest, key)
    return lowest, highest


@_inner(fastmath={"reassoc"})
def _block_sums(values: npt.NDArray[Any]) -> tuple[float, float]:
    total = 0.0
    squares = 0.0
    for index in range(values.size):
        value: Any = np.float64(values[index])
        total += value
        squares += value * value
    return total, squares


@_entry
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
            the second where there are none.

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
    for start in range(0, values.size, _MOMENTS_BLOCK):
        block = values[start : start + _MOMENTS_BLOCK]
        block_bits = bits[start : start + _MOMENTS_BLOCK]
        low, high = _key_range(block_bits, mask, shift)
        if high < infinity and low > ~infinity:
            block_total, block_squares = _block_sums(block)
            finite_count += block.size
            lowest = min(lowest, low)
            highest = max(highest, high)
        else:
            block_total = 0.0
            block_squares = 0.0
            for index in range(block.size):
                magnitude = block_bits[index] & mask
                if magnitude < infinity:
                    value: Any = np.float64(block[index])
                    block_total += value
                    block_squares += value * value
                    finite_count += 1
                    key = block_bits[index] ^ ((block_bits[index] >> shift) & mask)
                    lowest = min(lowest, key)
                    highest = max(highest, key)
                elif magnitude > infinity:
                    nan_count += 1
                elif block[index] > 0:
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


@_inner()
def _guess_slots(
    values: npt.NDArray[Any],
    first: Any,
    last: Any,
    scale: Any,
    count: Any,
    half: Any,
    tolerance: Any,
    slots: npt.NDArray[np.int32],
) -> Any:
    one = half + half
    doubtful = np.int32(0)
    for index in range(values.size):
        value = values[index]
        position = (value - first) * scale
        # False for NaN: it goes below the first threshold, as -inf does.
        position = position if position > -half else -half
        position = position if position < count + half else count + half
        # Masses of equal values at an end (zeros after a ReLU) are common, lie on
        # an edge, and are known.
        position = half if value == first else position
        position = count - half if value == last else position
        position += one
        doubtful += np.int32(abs(position - np.rint(position)) <= tolerance)
        slots[index] = np.int32(position)
    return doubtful


@_inner()
def _add(indices: npt.NDArray[np.uint32], size: int, tables: npt.NDArray[np.uint32]) -> None:
    table0, table1, table2, table3 = tables[0], tables[1], tables[2], tables[3]
    whole = size & ~3
    for index in range(0, whole, 4):
        table0[indices[index]] += np.uint32(1)
        table1[indices[index + 1]] += np.uint32(1)
        table2[indices[index + 2]] += np.uint32(1)
        table3[indices[index + 3]] += np.uint32(1)
    for index in range(whole, size):
        table0[indices[index]] += np.uint32(1)


@_entry
def count_uniform(
    values: npt.NDArray[Any],
    thresholds: npt.NDArray[Any],
    first: Any,
    last: Any,
    scale: Any,
    count: Any,
    half: Any,
    tolerance: Any,
    tables: npt.NDArray[np.uint32],
) -> None:
    """Adds the slots of ``values`` to ``tables``, by thresholds of about equal distance.

    A multiplication places a value. Where the place is further than
    ``tolerance`` from a whole number it is known to be right; else the
    thresholds on both sides decide. ``thresholds.uniform`` says why.

    Args:
        values: float32[n] or float64[n]; every scalar but ``tables`` is of its type.
        thresholds: [bins + 3], those of ``thresholds.Uniform``.
        first, last: the values that are known to be in the first and last bucket.
        scale, count, half, tolerance: places per unit, number of buckets, 0.5, see above.
        tables: uint32[TABLES, >= bins + 2]; their sum gets the counts.
    """
    slots = np.empty(_COUNT_BLOCK, np.int32)
    # Unsigned, so that numba leaves out Python's negative indices.
    indices = slots.view(np.uint32)
    for start in range(0, values.size, _COUNT_BLOCK):
        block = values[start : start + _COUNT_BLOCK]
        if _guess_slots(block, first, last, scale, count, half, tolerance, slots) > 0:
            for index in range(block.size):
                value = block[index]
                slot = indices[index]
                above = np.uint32(value >= thresholds[slot + np.uint32(1)])
                below = np.uint32(value < thresholds[slot])
                indices[index] = slot + above - below
        _add(indices, block.size, tables)


@_inner()
def _ranges(
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    key_shift: Any,
    lowest_key: Any,
    ranges: npt.NDArray[np.int32],
) -> None:
    zero = mask & ~mask
    sign = ~mask
    for index in range(bits.size):
        own = bits[index]
        # Minus zero is no less than a threshold of zero.
        own = zero if own == sign else own
        key = own ^ ((own >> shift) & mask)
        ranges[index] = np.int32((key >> key_shift) - lowest_key)


@_entry
def count_keyed(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    thresholds: npt.NDArray[Any],
    starts: npt.NDArray[np.uint32],
    steps: int,
    mask: Any,
    shift: Any,
    key_shift: Any,
    lowest_key: Any,
    tables: npt.NDArray[np.uint32],
) -> None:
    """Adds the slots of ``values`` to ``tables``, by any thresholds.

    The upper bits of a value, made to sort as integers, give a range of
    thresholds; ``steps`` halvings of it find the slot.

    Args:
        values: float32[n] or float64[n].
        bits, mask, shift: as for ``moments``.
        thresholds: those of ``thresholds.Keyed``, padded with NaN.
        starts: by upper bits less ``lowest_key``: how many thresholds lie
            below all values of these bits.
        steps: halvings that the fullest range takes.
        key_shift: the bits of the key that ``starts`` leaves out.
        lowest_key: the smallest integer of the type of ``bits``, shifted by that.
        tables: uint32[TABLES, >= bins + 2]; their sum gets the counts.
    """
    ranges = np.empty(_COUNT_BLOCK, np.int32)
    indices = ranges.view(np.uint32)
    for start in range(0, values.size, _COUNT_BLOCK):
        block = values[start : start + _COUNT_BLOCK]
        _ranges(bits[start : start + _COUNT_BLOCK], mask, shift, key_shift, lowest_key, ranges)
        for index in range(block.size):
            # NaN passes no threshold and must not start above one either.
            ordered = block[index] == block[index]
            indices[index] = starts[indices[index]] if ordered else np.uint32(0)
        width = np.uint32(1) << np.uint32(steps)
        # The loop over values is the inner one, so that their loads overlap.
        for _ in range(steps):
            width >>= np.uint32(1)
            for index in range(block.size):
                slot = indices[index]
                passed = thresholds[slot + width - np.uint32(1)] <= block[index]
                indices[index] = slot + (width if passed else np.uint32(0))
        _add(indices, block.size, tables)
