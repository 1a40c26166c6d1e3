"""While kernels are awaited, NumPy finds what they find."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from boardd.reduce import readiness
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.chunks import CHUNK
from boardd.reduce.histogram.exact_moments import exact_moments
from boardd.reduce.histogram.grid import count_grid
from boardd.reduce.histogram.grid_many import grids
from boardd.reduce.histogram.histogram import Histogram, histogram
from boardd.reduce.histogram.many import histograms
from boardd.reduce.histogram.quartiles import quartiles

_Found = TypeVar("_Found")

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.standard_normal(70_000)
ARRAYS: dict[str, npt.NDArray[Any]] = {
    "float64 of all magnitudes": NORMAL * 10.0 ** RANDOM.integers(-20, 20, NORMAL.size),
    "float32": NORMAL[:20_000].astype(np.float32),
    "float16 that is not contiguous": NORMAL[:1000].astype(np.float16)[::2],
    "integers": RANDOM.integers(-(2**60), 2**60, 500),
    "zeros of both signs": np.array([0.0, -0.0, 0.0]),
    "one value": np.full(3000, 7.5, np.float32),
    "not all finite": np.array([1.5, np.nan, -np.inf, np.inf, 3.0, np.inf]),
    "none finite": np.array([np.nan, np.inf]),
    "none": np.empty(0, np.float32),
    "subnormal": np.array([5e-324, -1e-310, 2e-308]),
    "sums of chunks that only overflow together": np.full(2 * CHUNK, 1.5e303),
    "the same, not contiguous": np.full((2 * CHUNK, 2), -1.5e303)[:, 0],
    "huge": np.array([1.7e308, 1.7e308, -1e300, 3.0]),
}
BINS: dict[str, Bins] = {
    "few": EqualWidth(7),
    "many": EqualWidth(3000),
    "default": default_edges(),
    "edges that repeat": Edges(np.array([-1.0, 0.0, 0.0, 1.5, 1.5, 7.5])),
    "rule": Rule("auto"),
}


def awaited(call: Callable[[], _Found]) -> _Found:
    """What ``call`` returns while kernels are awaited."""
    readiness.await_kernels()
    try:
        return call()
    finally:
        readiness.kernels_are_there()


def assert_same(found: Histogram, expected: Histogram) -> None:
    for field in dataclasses.fields(Histogram):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        if field.name in ("sum", "sum_squares"):
            added = min(expected.num * max(abs(expected.min), abs(expected.max)), 1e308)
            assert ours == theirs or math.isclose(
                ours, theirs, rel_tol=1e-12, abs_tol=1e-14 * added
            )
        else:
            np.testing.assert_array_equal(ours, theirs)
    assert math.copysign(1, found.min) == math.copysign(1, expected.min)


@pytest.mark.parametrize("bins", BINS.values(), ids=BINS)
@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_a_histogram_is_the_kernels(values: npt.NDArray[Any], bins: Bins) -> None:
    assert_same(awaited(lambda: histogram(values, bins)), histogram(values, bins))


def test_many_histograms_are_the_kernels() -> None:
    values, sizes = NORMAL[:3000].astype(np.float32), [1000, 0, 1500, 500]
    for bins in (EqualWidth(30), default_edges()):
        found = awaited(lambda bins=bins: list(histograms(values, sizes, bins)))
        for ours, theirs in zip(found, histograms(values, sizes, bins), strict=True):
            assert_same(ours, theirs)


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_what_ranks_merge_is_the_kernels(values: npt.NDArray[Any]) -> None:
    moments = awaited(lambda: exact_moments(values))
    assert moments == exact_moments(values)
    if not moments.num:
        return
    ends = moments.min, moments.max
    ours = awaited(lambda: count_grid(values, *ends, 64))
    theirs = count_grid(values, *ends, 64)
    assert (ours.exponent, ours.first) == (theirs.exponent, theirs.first)
    np.testing.assert_array_equal(ours.counts, theirs.counts)
    assert awaited(lambda: quartiles(values, moments.num)) == quartiles(values, moments.num)


def test_many_grids_are_left_to_be_made_one_by_one() -> None:
    assert awaited(lambda: grids([NORMAL[:100]] * 2, 64)) == [None, None]


def test_nothing_loads_numba() -> None:
    program = """
import sys
import numpy as np
from boardd.reduce import readiness
from boardd.reduce.histogram.bins import EqualWidth, Rule, default_edges
from boardd.reduce.histogram.exact_moments import exact_moments
from boardd.reduce.histogram.grid import count_grid
from boardd.reduce.histogram.histogram import histogram
from boardd.reduce.histogram.many import histograms

readiness.await_kernels()
values = np.arange(20_000, dtype=np.float32)
for bins in (EqualWidth(30), Rule("fd"), default_edges()):
    assert histogram(values, bins).counts.sum() == values.size
    assert len(list(histograms(values, [10_000, 10_000], bins))) == 2
assert exact_moments(values).num == values.size
assert count_grid(values, 0.0, 19_999.0, 64).counts.sum() == values.size
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
