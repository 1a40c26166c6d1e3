"""``of(a + b) == merge(of(a), of(b))``, bit for bit, under any order and tree of merges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd.partials.codec import decode, encode
from boardd.partials.curves import curve_of
from boardd.partials.histograms import histogram_of
from boardd.partials.partial import Partial
from boardd.partials.scalars import Scalars
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd_protos.invalid import InvalidRecordError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = ["bool", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64"]
BINS: list[Bins] = [
    *(EqualWidth(count) for count in (1, 2, 30, 1000)),
    Edges(np.array([-2.0, -0.5, 0.0, 0.0, 1.0, 300.0])),
    default_edges(),
    Rule("auto"),
    Rule("stone"),
]

properties = settings(max_examples=60, deadline=None, derandomize=True)


def tree(parts: list[Partial], choose: Callable[[int], int]) -> Partial:
    """The parts merged in some order, two at a time."""
    pool = list(parts)
    while len(pool) > 1:
        one = pool.pop(choose(len(pool)))
        other = pool.pop(choose(len(pool)))
        pool.append(one.merge(other))
        if len(pool) > 2 and not choose(3):  # all the rest at once
            pool = [pool.pop().merge(*pool)]
    return pool[0]


def check_read_back(partial: Partial) -> None:
    """Checks that bytes hold all of a partial; a repr is equal also for NaN."""
    data = encode(partial)
    read = decode(data)
    assert encode(read) == data
    assert repr(read) == repr(partial)


@st.composite
def arrays(draw: Any) -> list[np.ndarray]:
    """Values of several ranks, each of any dtype, often of one scale."""
    dtype = draw(st.sampled_from(DTYPES))
    size = st.integers(0, 40)
    count = draw(st.integers(1, 6))
    if draw(st.booleans()):
        return [draw(hnp.arrays(dtype, size)) for _ in range(count)]
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    scale = 2.0 ** draw(st.integers(-1000, 1000))
    offset = draw(st.sampled_from([0, 1, 1000, -1e9]))
    parts = []
    for _ in range(count):
        values = (random.normal(size=draw(size)) + offset) * scale
        if values.size and draw(st.booleans()):
            values[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        parts.append(values)
    return parts


@given(arrays(), st.sampled_from(BINS), st.data())
@properties
def test_histograms(parts: list[np.ndarray], bins: Bins, data: Any) -> None:
    whole = Partial.of(0, histogram_of(np.concatenate(parts), bins))
    partials = [Partial.of(0, histogram_of(part, bins)) for part in parts]
    choose = lambda size: data.draw(st.integers(0, size - 1))  # noqa: E731
    merged = tree(partials, choose)
    assert merged.count == len(parts)
    (share,) = merged.shares
    assert encode(Partial.of(0, share.value)) == encode(whole)
    check_read_back(merged)


@given(arrays(), st.sampled_from([1, 2, 30, 2048]))
@properties
def test_a_grid_counts_as_numpy_does_over_its_edges(parts: list[np.ndarray], count: int) -> None:
    histograms = [histogram_of(part, EqualWidth(count)) for part in parts]
    merged = histograms[0]
    for histogram in histograms[1:]:
        merged = merged.merge(histogram)  # type: ignore[arg-type, assignment]
    values = np.concatenate(parts).astype(np.float64)
    finite = values[np.isfinite(values)]
    grid = merged.grid
    assert merged.moments.num == finite.size
    if not finite.size:
        assert not grid.counts.size
        return
    assert grid.counts.size <= max(2, 2 * count)
    np.testing.assert_array_equal(grid.counts, np.histogram(finite, bins=grid.edges)[0])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(), st.integers(0, 3)), min_size=1), st.data()
)
@properties
def test_scalars(contributions: list[tuple[int, float, int]], data: Any) -> None:
    parts = [
        Partial.of(rank, Scalars.of(rank, float(time), value))
        for rank, value, time in contributions
    ]
    choose = lambda size: data.draw(st.integers(0, size - 1))  # noqa: E731
    expected = tree(parts, lambda size: 0)
    assert encode(tree(parts, choose)) == encode(expected)
    check_read_back(expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_curves(seed: int, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 50, 5)
    labels = [random.integers(0, 2, size) for size in sizes]
    predictions = [random.random(size).astype(np.float32) for size in sizes]
    weights = [random.random(size) * 10.0 ** random.integers(-9, 9) for size in sizes]
    parts = [
        Partial.of(rank, curve_of(*arguments[:2], 20, arguments[2] if weighted else None))
        for rank, arguments in enumerate(zip(labels, predictions, weights, strict=True))
    ]
    all_weights = np.concatenate(weights) if weighted else None
    whole = curve_of(np.concatenate(labels), np.concatenate(predictions), 20, all_weights)
    merged = tree(parts, lambda size: int(random.integers(size)))
    assert encode(Partial.of(0, merged.shown.value)) == encode(Partial.of(0, whole))
    check_read_back(merged)


@pytest.mark.parametrize("data", [b"\xff", b"", b"\x0a\x00"])
def test_what_is_no_partial_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecordError, match="a partial"):
        decode(data)


def test_grids_far_apart_merge_with_others() -> None:
    """Two of one exponent have more buckets between them than there is memory for."""
    parts = [np.arange(40) / 8 + offset for offset in (0.0, 1e15, 0.5, 1e15)]
    first, *rest = (Partial.of(0, histogram_of(part, EqualWidth(30))) for part in parts)
    whole = Partial.of(0, histogram_of(np.concatenate(parts), EqualWidth(30)))
    assert encode(Partial.of(0, first.merge(*rest).shown.value)) == encode(whole)
