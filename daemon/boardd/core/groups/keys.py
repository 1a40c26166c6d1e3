"""Keys of points: a step, and how often a rank had logged the tag at this step before."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: (step, nth)
Key = tuple[int, int]

#: Below every step of a contribution, and the nth below every other.
NO_STEP: Final = int(np.iinfo(np.int64).min)
NO_NTH: Final = -1
#: At or past every key.
MAX: Final = int(np.iinfo(np.int64).max)

#: Numbers that are at least this many times as large as there are of them are sorted: a table of
#: all below them, which is faster for others, would take time and memory by the largest.
_SPARSE: Final = 64


def at_or_below(
    step: NDArray[np.int64],
    nth: NDArray[np.int64],
    other_step: NDArray[np.int64],
    other_nth: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Returns which keys of the first two columns are at or below those of the others."""
    below: NDArray[np.bool_] = (step < other_step) | ((step == other_step) & (nth <= other_nth))
    return below


def numbered(numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the different ``numbers``, at or above 0, in rising order, and each one's place."""
    size = int(numbers.max()) + 1
    if size > _SPARSE * len(numbers):
        different, place = np.unique(numbers, return_inverse=True)
        return different, place
    table = np.zeros(size, np.intp)
    table[numbers] = 1
    different = np.flatnonzero(table)
    table[different] = np.arange(len(different))
    return different, table[numbers]


def grown(array: NDArray[np.generic], width: int, fill: int) -> NDArray[np.generic]:
    """Returns ``array`` with a last axis of at least ``width``, which doubles."""
    if width <= array.shape[-1]:
        return array
    wide = np.full((*array.shape[:-1], max(width, 2 * array.shape[-1])), fill, array.dtype)
    wide[..., : array.shape[-1]] = array
    return wide
