"""The compiled loop that counts values by buckets of a power of two.

Importing this loads numba. The values may change while they are read; see ``counting``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import brief_entry, callee, entry, inner
from boardd.reduce.histogram.counting import (
    COUNT_BLOCK as COUNT_BLOCK,
)
from boardd.reduce.histogram.counting import (
    MAX_SHORT_SLOT as MAX_SHORT_SLOT,
)
from boardd.reduce.histogram.counting import (
    TABLES as TABLES,
)
from boardd.reduce.histogram.counting import add_slots


@inner()
def _slots_of(
    values: npt.NDArray[Any],
    scale: Any,
    first: Any,
    count: Any,
    one: Any,
    slots: npt.NDArray[Any],
) -> None:
    zero = one - one
    for index in range(values.size):
        value = values[index]
        position = np.floor(value * scale)
        # A product that underflows is still below zero.
        position = -one if value < zero and position >= zero else position
        position -= first
        # False for NaN, which goes to the lowest place.
        position = position if position > -one else -one
        position = position if position < count else count
        slots[index] = np.int32(position + one)


@entry
def count_grid(
    values: npt.NDArray[Any],
    scale: Any,
    first: Any,
    count: Any,
    slots: npt.NDArray[Any],
    tables: npt.NDArray[np.uint32],
) -> None:
    """Adds the slots of ``values`` to ``tables``: 0 below all buckets, i + 1 in bucket i.

    Args:
        values: float32[n] or float64[n].
        scale: the inverse of the width, a power of two; it and the next two are float32 or
            float64, whichever a bucket's number fits.
        first: the number of the first bucket.
        count: the number of buckets.
        slots: uint16[COUNT_BLOCK] or, for more than MAX_SHORT_SLOT buckets,
            uint32: scratch.
        tables: uint32[TABLES, >= count + 2]; their sum gets the counts.
    """
    one = scale / scale
    for start in range(0, values.size, COUNT_BLOCK):
        block = values[start : start + COUNT_BLOCK]
        _slots_of(block, scale, first, count, one, slots)
        add_slots(slots, block.size, tables)


_count_grid = callee(count_grid)


@brief_entry
def count_grid_of_few(
    values: npt.NDArray[Any],
    scale: Any,
    first: Any,
    count: Any,
    slots: npt.NDArray[Any],
    tables: npt.NDArray[np.uint32],
) -> None:
    """As ``count_grid``, of few values."""
    _count_grid(values, scale, first, count, slots, tables)


@brief_entry
def take_counts(tables: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> None:
    """Moves what ``count_grid`` has added to ``tables`` to ``counts``, int64[n], of n buckets."""
    for row in range(tables.shape[0]):
        for bucket in range(counts.size):
            counts[bucket] += np.int64(tables[row, bucket + 1])
        tables[row, :] = np.uint32(0)
