"""The compiled loops that count values by bucket.

``count_uniform`` and ``count_keyed`` find the slot of each value: the number of
thresholds (``thresholds.py``) at or below it. ``count_direct`` needs no
thresholds, which take longer to make than a few values take to count.

The values may lie in memory that another process writes to meanwhile. So no
loop takes for granted what an earlier read of a value has shown: whatever each
read returns, every index stays within its array. The counts are then any
numbers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import bits_of, entry, inner

#: Elements whose slots are found before they are counted: the steps take turns
#: often enough to stay in the first level of cache, and seldom enough to pay.
COUNT_BLOCK: Final = 1024

#: Elements whose thresholds are halved side by side.
_KEYED_BLOCK: Final = 256

#: Elements of a block that one doubtful value sends through a slower loop.
_DOUBT_BLOCK: Final = 128

#: Count tables that neighbouring values take in turn, so that a run of equal
#: values does not wait for its own last increment.
TABLES: Final = 4

#: The highest slot that uint16 scratch holds.
MAX_SHORT_SLOT: Final = 0xFFFF


@inner()
def _guess_slots(
    values: npt.NDArray[Any],
    first: Any,
    scale: Any,
    lowest: Any,
    highest: Any,
    one: Any,
    slots: npt.NDArray[Any],
) -> Any:
    # Returns the bits of the shortest distance to a whole number: they sort as
    # distances do, and minima of integers vectorise while those of floats do not.
    nearest = bits_of(one)
    for index in range(values.size):
        position = (values[index] - first) * scale
        # False for NaN, which goes to the lowest place.
        position = position if position > lowest else lowest
        position = position if position < highest else highest
        position += one
        nearest = min(nearest, bits_of(abs(position - np.rint(position))))
        slots[index] = np.int32(position)
    return nearest


@inner()
def _guess_slots_or_outside(
    values: npt.NDArray[Any],
    first: Any,
    last: Any,
    scale: Any,
    count: Any,
    half: Any,
    slots: npt.NDArray[Any],
) -> Any:
    one = half + half
    nearest = bits_of(one)
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
        nearest = min(nearest, bits_of(abs(position - np.rint(position))))
        slots[index] = np.int32(position)
    return nearest


@inner()
def _settle(
    values: npt.NDArray[Any], thresholds: npt.NDArray[Any], slots: npt.NDArray[Any]
) -> None:
    # The first threshold is -inf and the last NaN, so no slot leaves their range.
    for index in range(values.size):
        value = values[index]
        slot = np.uint64(slots[index])
        above = np.uint64(value >= thresholds[slot + np.uint64(1)])
        below = np.uint64(value < thresholds[slot])
        slots[index] = slot + above - below


@inner()
def add_slots(slots: npt.NDArray[Any], size: int, tables: npt.NDArray[np.uint32]) -> None:
    """Adds the first ``size`` of ``slots``, uint16 or uint32, to ``tables`` in turn.

    Up to three elements of ``slots`` behind them are overwritten.
    """
    # Slot 0 is below all buckets and in none: it fills up the last word.
    while size & 3:
        slots[size] = 0
        size += 1
    table0, table1, table2, table3 = tables[0], tables[1], tables[2], tables[3]
    one = np.uint32(1)
    # Several slots in one load. All is unsigned, so that numba leaves out
    # Python's negative indices; one of the branches is left out as well.
    words = slots.view(np.uint64)
    if slots.itemsize == 2:
        mask = np.uint64(0xFFFF)
        for index in range(size >> 2):
            word = words[index]
            table0[word & mask] += one
            table1[(word >> np.uint64(16)) & mask] += one
            table2[(word >> np.uint64(32)) & mask] += one
            table3[word >> np.uint64(48)] += one
    else:
        mask = np.uint64(0xFFFFFFFF)
        for index in range(0, size >> 1, 2):
            word, next_word = words[index], words[index + 1]
            table0[word & mask] += one
            table1[word >> np.uint64(32)] += one
            table2[next_word & mask] += one
            table3[next_word >> np.uint64(32)] += one


@entry
def count_uniform(
    values: npt.NDArray[Any],
    thresholds: npt.NDArray[Any],
    first: Any,
    last: Any,
    scale: Any,
    count: Any,
    half: Any,
    tolerance: Any,
    is_covered: bool,
    slots: npt.NDArray[Any],
    tables: npt.NDArray[np.uint32],
) -> None:
    """Adds the slots of ``values`` to ``tables``, by thresholds of about equal distance.

    A multiplication places a value. If the place is further than
    ``tolerance`` from a whole number it is known to be right; else the
    thresholds on both sides decide. ``thresholds.uniform`` says why.

    Args:
        values: float32[n] or float64[n]; every scalar but ``tables`` is of its type.
        thresholds: [bins + 3], those of ``thresholds.Uniform``.
        first, last: the values that are known to be in the first and last bucket.
        scale, count, half, tolerance: places per unit, number of buckets, 0.5, see above.
        is_covered: whether every value is finite and in a bucket. It only saves
            time: a value that is not goes to any slot.
        slots: uint16[COUNT_BLOCK] or, for more than MAX_SHORT_SLOT buckets,
            uint32: scratch.
        tables: uint32[TABLES, >= bins + 2]; their sum gets the counts.
    """
    one = half + half
    doubtful = bits_of(tolerance)
    for start in range(0, values.size, COUNT_BLOCK):
        stop = min(start + COUNT_BLOCK, values.size)
        for part in range(start, stop, _DOUBT_BLOCK):
            block = values[part : min(part + _DOUBT_BLOCK, stop)]
            block_slots = slots[part - start :]
            if is_covered:
                nearest = _guess_slots(block, first, scale, half, count - half, one, block_slots)
            else:
                nearest = _guess_slots_or_outside(
                    block, first, last, scale, count, half, block_slots
                )
            if nearest <= doubtful:
                _settle(block, thresholds, block_slots)
        add_slots(slots, stop - start, tables)


@inner()
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


@entry
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
    ranges = np.empty(_KEYED_BLOCK, np.int32)
    indices = ranges.view(np.uint32)
    for start in range(0, values.size, _KEYED_BLOCK):
        block = values[start : start + _KEYED_BLOCK]
        _ranges(bits[start : start + _KEYED_BLOCK], mask, shift, key_shift, lowest_key, ranges)
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
        add_slots(indices, block.size, tables)


@entry
def count_direct(
    values: npt.NDArray[Any],
    edges: npt.NDArray[np.float64],
    scale: float,
    counts: npt.NDArray[np.int64],
) -> None:
    """Adds the number of values in each bucket to ``counts``.

    Args:
        values: float32[n] or float64[n].
        edges: float64[bins + 1], ascending, finite.
        scale: buckets per unit if they are about equal, else 0. It only
            saves time.
        counts: int64[bins].
    """
    # Unsigned, so that numba leaves out Python's negative indices.
    zero, one = np.uint64(0), np.uint64(1)
    last = np.uint64(counts.size - 1)
    last_position = np.float64(last)
    lowest = edges[0]
    highest = edges[last + one]
    for index in range(values.size):
        value: Any = np.float64(values[index])
        if not (value >= lowest and value <= highest):
            continue
        position = (value - lowest) * scale
        position = position if position > 0.0 else 0.0
        slot = np.uint64(np.int64(position if position < last_position else last_position))
        # The place may be off by one bucket, and by many if edges repeat.
        slot -= np.uint64(slot > zero and value < edges[slot])
        slot += np.uint64(slot < last and value >= edges[slot + one])
        if value < edges[slot] or (slot < last and value >= edges[slot + one]):
            slot = zero
            width = last
            while width > zero:
                half = (width + one) >> one
                slot += half if edges[slot + half] <= value else zero
                width -= half
        counts[slot] += 1
