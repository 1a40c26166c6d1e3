"""Buckets of a power of two count as NumPy does, and moments lose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.reduce.histogram.exact_moments import UNIT_BITS, exact_moments
from boardd.reduce.histogram.grid import bucket_number, count_grid, grid_range
from boardd_protos.invalid import InvalidTensorError


def spread(seed: int) -> np.ndarray:
    """Values of one scale or of very many, of either float, with what is not finite."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 9000)) if seed % 8 == 0 else int(random.integers(1, 60))
    widest = int(random.choice([1, 10, 60, 300, 1020]))
    exponents = random.integers(-widest, widest + 1, size if seed % 3 else 1)
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(random.standard_normal(size), exponents)
        if seed % 5 == 0:
            values = values + values.max() * random.choice([10, 1e5, 1e9])
        if seed % 4 == 0:
            values[random.integers(0, size, 2)] = [np.nan, -np.inf]
        return values.astype(np.float32) if seed % 2 else values


def units(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return (numerator << UNIT_BITS) // denominator


@pytest.mark.parametrize("seed", range(60))
def test_moments_are_exact(seed: int) -> None:
    values = spread(seed)
    found = exact_moments(values)
    finite = values[np.isfinite(values)].astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        squares = finite * finite
    assert found.num == finite.size
    assert found.nan_count == np.isnan(values).sum()
    assert found.positive_infinity_count == (values == np.inf).sum()
    assert found.negative_infinity_count == (values == -np.inf).sum()
    assert found.sum_units == sum(map(units, finite.tolist()))
    assert found.square_overflow_count == np.isinf(squares).sum()
    assert found.square_sum_units == sum(map(units, squares[np.isfinite(squares)].tolist()))
    if finite.size:
        assert (found.min, found.max) == (finite.min(), finite.max())


@pytest.mark.parametrize("buckets", [2, 7, 64, 2000, 65_536])
@pytest.mark.parametrize("seed", range(60))
def test_counts_are_numpys_over_the_grids_edges(seed: int, buckets: int) -> None:
    values = spread(seed)
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return
    lowest, highest = float(finite.min()), float(finite.max())
    grid = count_grid(values, lowest, highest, buckets)
    np.testing.assert_array_equal(grid.counts, np.histogram(finite, bins=grid.edges)[0])
    assert grid.counts.sum() == finite.size
    assert grid.counts.size <= buckets
    assert grid.counts[0]
    assert grid.counts[-1]


def test_the_width_is_the_smallest_that_fits() -> None:
    assert grid_range(0.0, 1.0, 9).exponent == -3
    assert grid_range(0.0, 1.0, 8).exponent == -2
    assert grid_range(3.0, 3.0, 2).exponent == 2 - 52
    assert grid_range(0.0, 0.0, 2).exponent == -52
    assert bucket_number(-1e-300, 900) == -1


def test_edges_past_the_largest_number_are_that_number() -> None:
    largest = np.finfo(float).max
    grid = count_grid(np.array([-largest, largest]), -largest, largest, 4)
    assert grid.edges[0] == -largest
    assert grid.edges[-1] == largest
    assert grid.counts.sum() == 2


def test_many_values_of_an_integer_type() -> None:
    values = np.arange(200_000, dtype=np.int64) % 1001 - 500
    grid = count_grid(values, -500.0, 500.0, 2048)
    np.testing.assert_array_equal(grid.counts, np.histogram(values, bins=grid.edges)[0])


def test_a_dtype_without_an_order_is_refused() -> None:
    with pytest.raises(InvalidTensorError, match="a histogram of complex"):
        exact_moments(np.zeros(2, complex))
