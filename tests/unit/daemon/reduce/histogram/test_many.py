"""Histograms that are made together are those that are made one by one, bit for bit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from boardd.reduce.histogram import many
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.histogram import Histogram, histogram
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
]
BINS: list[Bins] = [
    *(EqualWidth(count) for count in (1, 3, 30, 1000, 5000)),
    Edges(np.array([-1.0, 0.0, 0.0, 0.5, 2.0, 2.0])),
    default_edges(),
    Rule("auto"),
]

properties = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def bits(found: Histogram) -> list[object]:
    """All that a histogram says, bit by bit."""
    fields = (getattr(found, one.name) for one in dataclasses.fields(found))
    return [np.asarray(value, np.float64).tobytes() for value in fields]


def check(arrays: list[np.ndarray], bins: Bins) -> list[Histogram]:
    values = np.concatenate(arrays)
    found = list(many.histograms(values, [array.size for array in arrays], bins))
    assert list(map(bits, found)) == [bits(histogram(array, bins)) for array in arrays]
    assert not any(one.edges.flags.writeable or one.counts.flags.writeable for one in found)
    return found


@properties
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: st.lists(hnp.arrays(dtype, st.integers(0, 40)), min_size=1, max_size=6)
    ),
    st.sampled_from(BINS),
)
def test_any_values(arrays: list[np.ndarray], bins: Bins) -> None:
    check(arrays, bins)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bins", BINS, ids=str)
def test_sizes_of_every_way(dtype: str, bins: Bins) -> None:
    random = np.random.default_rng(3)
    sizes = [0, 1, 2, many.FEW, many.FEW + 1, many.SMALL_SIZE, many.SMALL_SIZE + 1, 100_000, 5, 0]
    arrays = [random.normal(size=size).astype(dtype) for size in sizes]
    arrays[2][:] = math.nan
    arrays[3][::7] = math.inf
    arrays[4][:] = -0.0
    check(arrays, bins)


def test_scales_that_overflow() -> None:
    largest = np.finfo(np.float64).max
    arrays = [
        np.array([largest, largest, -1.0]),
        np.array([-largest, largest]),
        np.array([5e-324, 1e-323]),
        np.array([1.0, np.nextafter(1.0, 2.0)]),
    ]
    for bins in BINS[:-1]:
        check(arrays, bins)


def test_more_than_one_call_makes() -> None:
    arrays = [np.full(20, number, np.float32) for number in range(300)]
    found = check(arrays, EqualWidth(1000))
    assert [one.min for one in found] == list(range(300))


def test_the_small_ones_are_made_together(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []

    def counted(values: np.ndarray, bins: Bins) -> Histogram:
        alone.append(values.size)
        return histogram(values, bins)

    monkeypatch.setattr(many, "histogram", counted)
    sizes = [10, 20_000, 30, 0, many.SMALL_SIZE]
    values = np.arange(sum(sizes), dtype=np.float32)
    for bins in (EqualWidth(1000), default_edges()):
        assert len(list(many.histograms(values, sizes, bins))) == len(sizes)
    assert alone == 2 * [20_000, 0]
