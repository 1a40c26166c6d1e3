"""Edges and rules of histograms equal NumPy's, and stay finite and few where NumPy's do not."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from boardd.reduce.histogram.bins import (
    Edges,
    EqualWidth,
    Rule,
    default_edges,
    equal_width_edges,
)
from boardd.reduce.histogram.rules import MAX_RULE_BINS, rule_count
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.limits import MAX_BINS, NUMPY_BIN_RULES


@pytest.mark.parametrize("count", [-1, 0, MAX_BINS + 1])
def test_a_count_out_of_bounds_is_refused(count):
    with pytest.raises(InvalidRecordError, match=rf"^{count} bins"):
        EqualWidth(count)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "0 bin edges"),
        ([1.0], "1 bin edges"),
        ([0.0, 2.0, 1.0], "bin edge 2 is 1.0, below edge 1, which is 2.0"),
        ([0.0, math.nan], "bin edge 1 is nan"),
        ([-math.inf, 0.0], "bin edge 0 is -inf"),
        ([[0.0, 1.0]], r"shape \(1, 2\)"),
        (["a", "b"], "no numbers"),
        (np.zeros(MAX_BINS + 2), f"{MAX_BINS + 2} bin edges"),
    ],
)
def test_edges_that_bound_no_buckets_are_refused(edges, message):
    with pytest.raises(InvalidRecordError, match=message):
        Edges(edges)


def test_edges_are_a_read_only_copy():
    given = np.array([0.0, 1.0])
    edges = Edges(given)
    given[0] = -1
    assert edges.edges.tolist() == [0.0, 1.0]
    assert not edges.edges.flags.writeable


def test_an_unknown_rule_is_refused():
    with pytest.raises(InvalidRecordError, match="'freedman'"):
        Rule("freedman")


def test_default_edges_are_tensorflows():
    edges = default_edges().edges
    # InitDefaultBucketsInner starts at 1e-12 and grows by 1.1 while below 1e20.
    assert edges.size == 1549
    np.testing.assert_array_equal(edges, -edges[::-1])
    assert edges[774] == 0.0
    assert edges[775] == 1e-12
    assert edges[776] == 1e-12 * 1.1
    assert edges[777] == 1e-12 * 1.1 * 1.1
    assert 1e20 / 1.1 < edges[-1] < 1e20


@pytest.mark.parametrize("count", [1, 2, 7, 30, 1000])
@pytest.mark.parametrize(
    ("minimum", "maximum"),
    [(0.0, 1.0), (-3.25, 17.5), (1e-300, 1e-299), (-1e300, 2e300), (5.0, 5.0), (-0.0, 0.0)],
)
def test_equal_edges_are_numpys(count, minimum, maximum):
    np.testing.assert_array_equal(
        equal_width_edges(minimum, maximum, count),
        np.histogram_bin_edges(np.array([minimum, maximum]), bins=count),
    )


@pytest.mark.parametrize(
    ("minimum", "maximum"),
    [
        (-1.7e308, 1.7e308),
        (-1.7976931348623157e308, 1.7976931348623157e308),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (0.0, 5e-324),
        (-85e-324, 0.0),
        (0.0, 85e-324),
        (1.0, math.nextafter(1.0, 2.0)) if hasattr(math, "nextafter") else (1.0, 1.0 + 2**-52),
        (1e17, 1e17),
    ],
)
@pytest.mark.parametrize("count", [1, 10, 17, 1000])
def test_equal_edges_never_fall_nor_leave_the_range(minimum, maximum, count):
    edges = equal_width_edges(minimum, maximum, count)
    assert edges.size == count + 1
    assert (edges[0], edges[-1]) == (minimum, maximum)
    assert np.isfinite(edges).all()
    assert (edges[1:] >= edges[:-1]).all()


@pytest.mark.parametrize("name", NUMPY_BIN_RULES)
@pytest.mark.parametrize("size", [1, 2, 3, 50, 1000, 20_000])
@pytest.mark.filterwarnings("ignore:The number of bins estimated may be suboptimal")
def test_rules_are_numpys(name, size):
    random = np.random.default_rng(size)
    for values in (
        random.standard_normal(size),
        random.exponential(3.0, size),
        random.integers(-5, 5, size).astype(float),
        random.standard_normal(size) * 2.0**-300,
        random.standard_normal(size) * 2.0**300,
    ):
        # Scaled by a power of two, where NumPy's own squares do not overflow.
        scale = 2.0 ** -round(math.log2(np.abs(values).max()))
        expected = np.histogram_bin_edges(values * scale, bins=name).size - 1
        assert rule_count(name, values) == expected


@pytest.mark.parametrize("name", NUMPY_BIN_RULES)
def test_rules_are_bounded_on_any_values(name):
    outlier = np.append(np.linspace(0.0, 1e-9, 5000), 1e9)
    for values in (
        np.array([]),
        np.array([3.0]),
        np.zeros(10),
        outlier,
        np.array([-1.7e308, 0.0, 1.0, 1.7e308]),
        np.array([0.0, 5e-324, 1e-323]),
        np.array([1.0, np.nextafter(1.0, 2.0)] * 500),
    ):
        assert 1 <= rule_count(name, values) <= MAX_RULE_BINS
    if name == "fd":
        assert rule_count(name, outlier) == MAX_RULE_BINS


class Changing(np.ndarray):
    """Memory that another process changes once NumPy has taken its percentiles."""

    def __array_function__(self, function, types, args, kwargs):
        result = super().__array_function__(function, types, args, kwargs)
        if function is np.percentile:
            # Close together but for two outliers: millions of buckets by the same rule.
            self[2:] *= 1e-4
        return result


@pytest.mark.parametrize("name", ["fd", "auto"])
def test_a_rule_bounds_its_memory_on_values_that_change(name):
    """What the bound of a rule was checked on is what NumPy makes edges for."""
    size = 10_000
    shared = np.random.default_rng(6).standard_normal(size).view(Changing)
    shared[:2] = -20.0, 20.0
    expected = rule_count(name, np.array(shared))
    tracemalloc.start()
    try:
        count = rule_count(name, shared)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == expected
    assert peak_bytes < 100 * size
