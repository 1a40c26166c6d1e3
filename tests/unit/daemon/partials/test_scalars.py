"""Merged scalars equal what one computes of all contributions, whole columns at once too."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from boardd.partials.scalars import Scalars, column_sums, reduce_columns
from boardd_protos.merging import REDUCTIONS

VALUES = [0.0, -0.0, 1.0, -2.5, 1e308, -1e308, 1.7e308, 1e-320, 0.1, math.inf, -math.inf, math.nan]


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def merged(parts: list[Scalars]) -> Scalars:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def test_a_mean_is_that_of_all_contributions() -> None:
    values = np.random.default_rng(1).normal(size=100) * 1e5
    whole = merged([Scalars.of(rank, 1.0, value) for rank, value in enumerate(values.tolist())])
    assert whole.value("mean") == math.fsum(values) / 100
    assert whole.value("sum") == math.fsum(values)
    assert (whole.min.value, whole.min.rank) == (values.min(), values.argmin())
    assert (whole.max.value, whole.max.rank) == (values.max(), values.argmax())


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1.0, math.nan], math.nan),
        ([1.0, math.inf], math.inf),
        ([-math.inf, 1.0], -math.inf),
        ([-math.inf, math.inf], math.nan),
        ([1.7e308, 1.7e308], 1.7e308),
        ([-0.0], 0.0),
    ],
)
def test_what_is_not_finite_shows_in_the_mean(values: list[float], mean: float) -> None:
    whole = merged([Scalars.of(rank, 1.0, value) for rank, value in enumerate(values)])
    assert bits(whole.value("mean")) == bits(mean)


def test_extremes_leave_out_nan_and_belong_to_the_lowest_rank() -> None:
    values = [math.nan, 2.0, math.inf, 2.0, math.inf]
    whole = merged([Scalars.of(rank, 1.0, value) for rank, value in enumerate(values)])
    assert (whole.min.value, whole.min.rank) == (2.0, 1)
    assert (whole.max.value, whole.max.rank) == (math.inf, 2)


def test_the_last_is_the_latest_and_of_equals_the_lowest_ranks() -> None:
    parts = [Scalars.of(0, 1.0, 5.0), Scalars.of(2, 3.0, 6.0), Scalars.of(1, 3.0, 7.0)]
    assert merged(parts).value("last") == 7.0


def test_another_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of mean"):
        Scalars.of(0, 1.0, 1.0).value("median")


@pytest.mark.parametrize("reduce", ["", *REDUCTIONS])
@pytest.mark.parametrize("seed", range(20))
def test_columns_equal_values_merged_one_by_one(seed: int, reduce: str) -> None:
    random = np.random.default_rng(seed)
    rows, columns = int(random.integers(1, 9)), 30
    value = random.choice(VALUES, (rows, columns)) if seed % 2 else random.normal(size=(rows, 30))
    present = random.random((rows, columns)) < 0.8
    wall_time = random.integers(1, 4, (rows, columns)).astype(float)
    ranks = random.permutation(20)[:rows].astype(np.int64)
    found = reduce_columns(value, present, wall_time, ranks, reduce)
    for tag in range(columns):
        rows_of_tag = np.flatnonzero(present[:, tag])
        if not rows_of_tag.size:
            assert (found.count[tag], found.min_rank[tag], found.max_rank[tag]) == (0, -1, -1)
            assert math.isnan(found.value[tag])
            continue
        parts = [
            Scalars.of(int(ranks[row]), wall_time[row, tag], float(value[row, tag]))
            for row in random.permutation(rows_of_tag)
        ]
        whole = merged(parts)
        assert column(found, tag) == (
            *map(bits, (whole.value(reduce), whole.min.value, whole.max.value)),
            *(whole.min.rank, whole.max.rank, whole.count, whole.last.wall_time),
        )


@pytest.mark.parametrize("spread", [0, 20, 60, 300, 1000])
def test_column_sums_are_rounded_once(spread: int) -> None:
    random = np.random.default_rng(spread)
    values = random.normal(size=(200, 50)) * 2.0 ** random.integers(-spread, spread + 1, (200, 50))
    expected = [math.fsum(column) for column in values.T.tolist()]
    assert column_sums(values).tolist() == expected


def column(found: Any, tag: int) -> tuple[Any, ...]:
    return (
        *(
            bits(array[tag] if array[tag] == array[tag] else math.nan)
            for array in (found.value, found.min, found.max)
        ),
        *(found.min_rank[tag], found.max_rank[tag], found.count[tag], found.wall_time[tag]),
    )


def test_columns_without_a_row_are_empty() -> None:
    none = np.zeros((0, 3))
    found = reduce_columns(none, none.astype(bool), none, np.zeros(0, np.int64), "last")
    assert found.count.tolist() == [0, 0, 0]
