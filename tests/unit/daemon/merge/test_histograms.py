from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from boardd.merge.histograms import Buckets, MergedBuckets, merge_buckets
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX.summary import make_histogram


def default_edges() -> list[float]:
    """TensorFlow's edges, which tensorboardX and torch take unless told otherwise."""
    edge, positive = 1e-12, []
    while edge < 1e20:
        positive.append(edge)
        edge *= 1.1
    return [*(-one for one in reversed(positive)), 0.0, *positive]


EDGES = default_edges()


def logged(values: np.ndarray, bins: object) -> Buckets:
    """What tensorboardX writes of ``values``, without its empty outer buckets."""
    proto = make_histogram(values.astype(float), bins)
    found = Buckets.of_limits(
        np.array(proto.bucket_limit),
        np.array(proto.bucket),
        min=proto.min,
        max=proto.max,
        num=proto.num,
        sum=proto.sum,
        sum_squares=proto.sum_squares,
    )
    assert found is not None
    return found


def counted(values: np.ndarray, merged: MergedBuckets) -> np.ndarray:
    edges = np.concatenate(([min(values.min(), merged.limits[0])], merged.limits))
    return np.histogram(values, edges)[0]


@pytest.mark.parametrize("bins", [EDGES, np.linspace(-10, 10, 81).tolist(), [-100, 0, 100]])
@pytest.mark.parametrize("seed", range(5))
def test_equal_edges_add_up_though_empty_buckets_were_left_out(bins: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 500, 4)
    parts = [np.clip(rng.normal(rng.normal(), 2, size), -9.9, 9.9) for size in sizes]
    merged = merge_buckets([logged(part, bins) for part in parts])
    together = np.concatenate(parts)
    assert merged.is_exact
    assert merged.counts.tolist() == counted(together, merged).tolist()
    assert merged.num == together.size
    assert (merged.min, merged.max) == (together.min(), together.max())
    assert merged.sum == pytest.approx(together.sum())
    assert merged.sum_squares == pytest.approx((together**2).sum())


def test_one_rank_is_what_it_was() -> None:
    values = np.random.default_rng(0).normal(size=100)
    part = logged(values, EDGES)
    merged = merge_buckets([part])
    filled = merged.counts > 0
    assert merged.is_exact
    assert merged.counts[filled].tolist() == part.count.tolist()


def test_other_edges_are_fitted_and_told() -> None:
    parts = [np.linspace(0, 1, 1000), np.linspace(0.5, 3, 1000)]
    merged = merge_buckets([logged(part, 20) for part in parts])
    assert not merged.is_exact
    assert merged.counts.sum() == pytest.approx(2000)
    exact = counted(np.concatenate(parts), merged)
    assert np.abs(merged.counts - exact).max() < 60  # a bucket has about 100


def test_a_constant_lies_in_one_bucket() -> None:
    merged = merge_buckets([logged(np.full(5, 2.0), 10), logged(np.linspace(0, 4, 100), 7)])
    assert merged.counts.sum() == pytest.approx(105)


def test_nothing_counted_is_nothing_merged() -> None:
    empty = Buckets.of_limits(
        np.zeros(0), np.zeros(0), min=0.0, max=0.0, num=0.0, sum=0.0, sum_squares=0.0
    )
    assert empty is not None
    merged = merge_buckets([empty, empty])
    assert (merged.num, merged.counts.size, merged.is_exact) == (0.0, 0, True)
    values = logged(np.arange(5.0), 5)
    assert merge_buckets([empty, values]).counts.sum() == 5
    assert merge_buckets([empty, values]).min == 0


@pytest.mark.parametrize(
    ("limits", "counts", "low"),
    [
        ([1, 2], [1], 0.0),
        ([2, 1], [1, 1], 0.0),
        ([1, np.nan], [1, 1], 0.0),
        ([1, 2], [1, -1], 0.0),
        ([1, 2], [1, np.inf], 0.0),
        ([1, 2], [1, 1], np.nan),
    ],
)
def test_what_cannot_be_a_histogram_is_none(
    limits: Sequence[float], counts: Sequence[float], low: float
) -> None:
    assert (
        Buckets.of_limits(
            np.array(limits, float),
            np.array(counts, float),
            min=low,
            max=3.0,
            num=2.0,
            sum=0.0,
            sum_squares=0.0,
        )
        is None
    )


def test_rows_of_tensorflow_2_merge_if_their_edges_agree() -> None:
    rows = np.array([[0, 1, 3], [1, 2, 0], [2, 3, 4]], float)
    part = Buckets.of_rows(rows)
    assert part is not None
    merged = merge_buckets([part, part])
    assert merged.is_exact
    assert merged.limits.tolist() == [0, 1, 2, 3]
    assert merged.counts.tolist() == [0, 6, 0, 8]
    assert Buckets.of_rows(rows[::-1]) is None


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
        min_size=1,
        max_size=5,
    ),
    st.randoms(),
)
def test_no_value_is_lost_whatever_the_edges(parts: list[list[float]], random: object) -> None:
    given = [logged(np.array(part), 1 + len(part) % 7) for part in parts]
    merged = merge_buckets(given)
    assert merged.counts.sum() == pytest.approx(sum(map(len, parts)))
    assert (np.diff(merged.limits) >= 0).all()
    assert not merged.counts.size or merged.limits[-1] >= merged.max
