"""Histograms of many small arrays in one compiled call, by the loops for one.

What is called is what ``histogram`` calls for each of them, in the same order, so the results
have the same bits. Importing this loads numba.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import brief_entry, callee, entry, inner
from boardd.reduce.histogram.counting import count_direct
from boardd.reduce.histogram.equal_width import equal_width, equal_width_of_few, ordinary_range

_count_direct = callee(count_direct)
_equal_width = callee(equal_width)
_equal_width_of_few = callee(equal_width_of_few)


@inner()
def _put(
    found: tuple[bool, float, float, int, float, float, int, int, int],
    counted: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    floats: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
) -> None:
    # Writes one array's row of each, of what ``equal_width`` returns.
    for bucket in range(counted.size):
        counts[bucket] = counted[bucket]
    is_made, lowest, highest, num, total, squares, nan_count, positive, negative = found
    floats[0] = lowest
    floats[1] = highest
    floats[2] = total
    floats[3] = squares
    numbers[0] = is_made
    numbers[1] = num
    numbers[2] = nan_count
    numbers[3] = positive
    numbers[4] = negative


def _equal_width_of_many(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    starts: npt.NDArray[np.int64],
    most_few: int,
    edges: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    floats: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
) -> None:
    """Makes the histograms of n arrays over their own ranges, where those are ordinary.

    Args:
        values: float32 or float64, of all arrays, one after the other.
        bits, mask, shift, infinity: as for ``kernels.moments``.
        starts: int64[n + 1], where each begins, and where the last ends.
        most_few: arrays of up to as many values are for ``equal_width_of_few``.
        edges: float64[n, bins + 1], to be written.
        counts: float64[n, bins], to be written.
        floats: float64[n, 4], to be written: min, max, sum, sum of squares.
        numbers: int64[n, 5], to be written: whether it was made; the numbers of finite
            values, of NaN, of positive and of negative infinities.
    """
    counted = np.empty(counts.shape[1], np.int64)
    for index in range(starts.size - 1):
        own = values[starts[index] : starts[index + 1]]
        own_bits = bits[starts[index] : starts[index + 1]]
        counted[:] = 0
        if own.size <= most_few:
            found = _equal_width_of_few(own, own_bits, mask, shift, infinity, edges[index], counted)
        else:
            found = _equal_width(own, own_bits, mask, shift, infinity, edges[index], counted)
        _put(found, counted, counts[index], floats[index], numbers[index])


def _between_edges_of_many(
    values: npt.NDArray[Any],
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    infinity: Any,
    starts: npt.NDArray[np.int64],
    edges: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    floats: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
) -> None:
    """Counts n arrays between the same edges, float64[bins + 1].

    The other arguments are those of ``equal_width_of_many``. One is not made whose sum
    overflows, or which has no finite value.
    """
    counted = np.empty(counts.shape[1], np.int64)
    for index in range(starts.size - 1):
        own = values[starts[index] : starts[index + 1]]
        own_bits = bits[starts[index] : starts[index + 1]]
        found = ordinary_range(own, own_bits, mask, shift, infinity)
        counted[:] = 0
        if found[0]:
            _count_direct(own, edges, 0.0, counted)
        _put(found, counted, counts[index], floats[index], numbers[index])


#: Each twice: the brief ones keep the GIL, see ``brief_entry``.
equal_width_of_many: Final = entry(_equal_width_of_many)
brief_equal_width_of_many: Final = brief_entry(_equal_width_of_many)
between_edges_of_many: Final = entry(_between_edges_of_many)
brief_between_edges_of_many: Final = brief_entry(_between_edges_of_many)
