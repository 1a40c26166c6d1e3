"""Quartiles of many values without sorting them.

The upper 16 bits of a float, made to sort as integers, divide all floats into cells. The
cells are counted, and only the few that hold a wanted place are sorted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce import readiness
from boardd.reduce.histogram import plain
from boardd.reduce.histogram.chunks import chunked, read_only
from boardd.reduce.histogram.thresholds import BITS

_CELL_BITS: Final = 16


def quartiles(values: npt.NDArray[Any], num: int) -> tuple[float, float]:
    """Returns the lower and the upper quartile of the finite ones of ``values``.

    They equal ``numpy.percentile`` of them as float64. ``num``, at least 1, is how many there
    are; the dtype is one that ``histogram`` takes, else ``InvalidTensorError`` is raised.
    """
    if readiness.are_awaited():
        return plain.quartiles(chunked(values)[0], num)
    places = [(num - 1) * share for share in (0.25, 0.75)]
    below = [math.floor(place) for place in places]
    wanted = sorted({*below, *(min(place + 1, num - 1) for place in below)})
    found = dict(zip(wanted, _at_places(values, wanted), strict=True))
    lower, upper = (
        _between(found[first], found[min(first + 1, num - 1)], place - first)
        for first, place in zip(below, places, strict=True)
    )
    return lower, upper


def _between(low: float, high: float, share: float) -> float:
    # As NumPy, rounding for rounding.
    distance = high - low
    return high - distance * (1 - share) if share >= 0.5 else low + distance * share


def _at_places(values: npt.NDArray[Any], places: Sequence[int]) -> list[float]:
    """Returns the finite values at ``places``, ascending, of the order of all, from 0 on."""
    chunks, dtype = chunked(values)
    bits = BITS[dtype]
    kernels = _kernels()
    cell_shift = bits.integer(bits.size - _CELL_BITS)
    tables = np.zeros((kernels.TABLES, kernels.CELLS), np.uint32)
    for chunk in chunks():
        kernels.count_cells(
            read_only(chunk.view(bits.integer)), bits.mask, bits.shift, cell_shift, tables
        )
    counts = tables.sum(axis=0, dtype=np.int64)
    # What is not finite has cells of its own, at both ends.
    middle = kernels.CELLS // 2
    infinite = int(bits.infinity >> cell_shift)
    counts[: middle - infinite] = 0
    counts[middle + infinite :] = 0
    ends = np.cumsum(counts)
    cells = np.searchsorted(ends, np.array(places), side="right")
    cells = np.minimum(cells, kernels.CELLS - 1)
    found: list[float] = []
    for cell in np.unique(cells).tolist():
        lowest = bits.integer((cell - middle) << int(cell_shift))
        highest = bits.integer(int(lowest) + (1 << int(cell_shift)) - 1)
        taken = np.empty(int(counts[cell]) + 1, bits.integer)
        size = 0
        for chunk in chunks():
            size += int(
                kernels.take_cells(
                    read_only(chunk.view(bits.integer)),
                    bits.mask,
                    bits.shift,
                    lowest,
                    highest,
                    taken[size:],
                )
            )
        start = int(ends[cell] - counts[cell])
        of_cell = [place - start for place, own in zip(places, cells, strict=True) if own == cell]
        if not size:
            # Another process has changed the values meanwhile: any number will do.
            found += [0.0] * len(of_cell)
            continue
        of_cell = [min(place, size - 1) for place in of_cell]
        ordered = taken[:size]
        # A mass of equal values, such as zeros after a ReLU, takes long to sort.
        if ordered.min() < ordered.max():
            ordered.partition(of_cell)
        found += [bits.value(ordered[place]) for place in of_cell]
    return found


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import order_kernels

    return order_kernels
