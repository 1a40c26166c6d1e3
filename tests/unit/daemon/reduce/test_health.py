"""The health of arrays equals what NumPy says of them."""

from __future__ import annotations

import sys

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from boardd.reduce.health import ArrayHealth, array_health
from hypothesis import given
from hypothesis import strategies as st


@given(
    arrays.arrays(
        st.sampled_from(["float16", "float32", "float64", "int8", "uint16", "int64"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    )
)
def test_it_equals_numpy(values: np.ndarray) -> None:
    health = array_health(values)
    exact = values.astype(np.float64)
    finite = exact[np.isfinite(exact)]
    assert health.count == values.size
    assert health.zeros == (exact == 0).sum()
    assert health.nans == np.isnan(exact).sum()
    assert health.infinities == np.isinf(exact).sum()
    largest = np.abs(finite).max(initial=0.0) or 1.0
    with np.errstate(over="ignore", under="ignore"):
        norm = largest * np.sqrt(((finite / largest) ** 2).sum())
    assert health.norm == pytest.approx(min(norm, sys.float_info.max))
    assert health.is_finite == np.isfinite(exact).all()


def test_more_than_is_converted_at_a_time() -> None:
    values = np.ones(200_001, np.float32)
    values[[0, 70_000, 140_000, 200_000]] = [0, np.nan, np.inf, -np.inf]
    health = array_health(values)
    assert (health.zeros, health.nans, health.infinities) == (1, 1, 2)
    assert health.norm == np.sqrt(200_001 - 4)
    assert health.zero_share == 1 / 200_001


def test_of_two_together() -> None:
    both = array_health(np.array([3.0, 0.0])) + array_health(np.array([4.0, np.nan]))
    assert both == ArrayHealth(4, 25.0, 1, 1, 0)
    assert both.norm == 5.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e200, 1.0], 1e200),
        ([1e200, 1e200, np.nan], np.sqrt(2) * 1e200),
        ([sys.float_info.max] * 4, sys.float_info.max),
        ([1.2e154] * 70_000, np.sqrt(70_000) * 1.2e154),  # each chunk has finite squares
    ],
)
def test_norms_of_finite_elements_are_finite(values: list[float], expected: float) -> None:
    whole = array_health(np.array(values))
    assert whole.norm == pytest.approx(expected)
    assert whole.log10_norm >= np.log10(expected) * (1 - 1e-9)
    both = array_health(np.array([3e150])) + whole + array_health(np.array([2e200]))
    assert both.norm == pytest.approx(min(np.hypot(whole.norm, 2e200), sys.float_info.max))


def test_squares_that_overflow_together_only_are_added() -> None:
    one = array_health(np.array([1.2e154]))
    assert (one + one).norm == pytest.approx(np.sqrt(2) * 1.2e154)
    assert (one + one + one).log10_norm == pytest.approx(np.log10(np.sqrt(3) * 1.2e154))


def test_nothing_is_sound() -> None:
    assert array_health(np.zeros((0, 3))) == ArrayHealth()
    assert ArrayHealth().zero_share == 0.0


@pytest.mark.parametrize(
    ("values", "expected"), [([300.0, 400.0], np.log10(500)), ([0.0, 0.0], -45.0), ([1e-60], -45.0)]
)
def test_norms_are_shown_as_powers_of_ten(values: list[float], expected: float) -> None:
    assert array_health(np.array(values)).log10_norm == pytest.approx(expected)


def test_without_a_finite_element_there_is_no_norm() -> None:
    assert not array_health(np.array([np.nan, np.inf])).has_finite
    assert array_health(np.array([np.nan, 0.0])).has_finite
