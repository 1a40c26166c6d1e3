"""Moments and grids that are made together are those that are made one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from boardd.reduce.histogram import grid_many
from boardd.reduce.histogram.exact_moments import exact_moments
from boardd.reduce.histogram.grid import count_grid
from boardd.reduce.histogram.grid_many import grids

Array = npt.NDArray[Any]


def drawn(seed: int, dtype: type[np.generic]) -> Array:
    """Values of one scale, or of very many, with what is not finite now and then."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 6000)) if seed % 7 == 0 else int(random.integers(1, 60))
    exponents = random.integers(-40, 41, size if seed % 3 == 0 else 1)
    values = np.ldexp(random.standard_normal(size), exponents)
    if seed % 4 == 1:
        values[:] = random.choice([0.0, -0.0, values[0]])
    if seed % 5 == 2:
        values = values + np.abs(values).max() * random.choice([10, 1e5, 1e9])
    if seed % 4 == 2:
        values[random.integers(0, size, 3)] = [np.nan, np.inf, -np.inf]
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_buckets", [2, 9, 128, 4096])
def test_they_are_those_that_are_made_one_by_one(dtype: type[np.generic], max_buckets: int) -> None:
    arrays = [drawn(seed, dtype) for seed in range(60)]
    made = 0
    for values, found in zip(arrays, grids(arrays, max_buckets), strict=True):
        if found is None:
            continue
        made += 1
        moments, grid = found
        assert moments == exact_moments(values)
        alone = count_grid(values, moments.min, moments.max, max_buckets)
        assert (grid.exponent, grid.first) == (alone.exponent, alone.first)
        assert grid.counts.tolist() == alone.counts.tolist()
        assert not grid.counts.flags.writeable
    assert made > len(arrays) // 2


def test_what_is_unusual_is_left_to_be_made_alone() -> None:
    usual = np.arange(9.0)
    unusual = [np.array([np.nan, np.inf]), np.array([1e300, 5e-320]), np.ldexp(usual, -1060)]
    found = grids([usual, *unusual, usual], 64)
    assert [one is None for one in found] == [False, True, True, True, False]


def test_many_are_made_in_calls_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [drawn(seed, np.float64) for seed in range(0, 44, 4)]
    whole = grids(arrays, 64)
    monkeypatch.setattr(grid_many, "CALL_VALUES", 40)
    monkeypatch.setattr(grid_many, "CALL_BUCKETS", 128)
    parted = grids(arrays, 64)
    assert [one and one[0] for one in parted] == [one and one[0] for one in whole]
