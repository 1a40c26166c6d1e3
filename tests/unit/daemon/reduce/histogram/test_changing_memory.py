"""Values that another process changes while the compiled loops read them.

Whatever a loop finds at each read, it writes only where counts belong: the
tables lie between guards here, and the values break every promise that an
earlier read made.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from boardd.reduce.histogram import counting, thresholds
from boardd.reduce.histogram.bins import EqualWidth, default_edges
from boardd.reduce.histogram.histogram import histogram
from boardd_protos.invalid import InvalidTensorError

GUARD = 4096
MARK = 0xA5A5A5A5

WILD = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 3.0e38, -3.0e38, 1e-45, 0.5, 0.999]
DTYPES = ["float32", "float64"]


def guarded(shape, dtype, mark):
    """An array of zeros in the middle of marked memory, and a check that the marks are whole."""
    size = int(np.prod(shape))
    whole = np.full(size + 2 * GUARD, mark, dtype)
    middle = whole[GUARD : GUARD + size]
    middle.fill(0)

    def check():
        assert (whole[:GUARD] == whole.dtype.type(mark)).all()
        assert (whole[GUARD + size :] == whole.dtype.type(mark)).all()

    return middle.reshape(shape), check


def wild_values(dtype, size=5003):
    random = np.random.default_rng(5)
    bits = random.integers(0, 256, size * np.dtype(dtype).itemsize, np.uint8)
    values = bits.view(dtype).copy()
    values[::3] = np.resize(np.array(WILD, dtype), values[::3].size)
    values.flags.writeable = False
    return values


def count_uniform(values, edges, is_covered, slot_type, tables):
    plan = thresholds.uniform(edges, values.dtype)
    assert plan is not None
    counting.count_uniform(
        values,
        plan.thresholds,
        plan.first,
        plan.last,
        plan.scale,
        plan.count,
        plan.half,
        plan.tolerance,
        is_covered,
        np.empty(counting.COUNT_BLOCK, slot_type),
        tables,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_covered", [True, False])
@pytest.mark.parametrize("slot_type", [np.uint16, np.uint32])
def test_a_range_that_does_not_cover_the_values(dtype, is_covered, slot_type):
    """The range that an earlier pass found says nothing of what the values are now."""
    values = wild_values(dtype)
    for bins in (1, 7, 1000):
        tables, check = guarded((counting.TABLES, bins + 2), np.uint32, MARK)
        count_uniform(values, np.linspace(0.25, 0.75, bins + 1), is_covered, slot_type, tables)
        check()
        # Each value is in one slot; the last block is filled up with slot 0.
        assert tables.sum() == values.size + -values.size % 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_thresholds_that_do_not_cover_the_values(dtype):
    values = wild_values(dtype)
    bits = thresholds.BITS[values.dtype]
    for edges in (default_edges().edges, np.array([0.5, 0.5, 0.75])):
        for size in (100, 100_000):
            plan = thresholds.keyed(edges, values.dtype, size)
            tables, check = guarded((counting.TABLES, edges.size + 1), np.uint32, MARK)
            counting.count_keyed(
                values,
                values.view(bits.integer),
                plan.thresholds,
                plan.starts,
                plan.steps,
                bits.mask,
                bits.shift,
                plan.key_shift,
                plan.lowest_key,
                tables,
            )
            check()
            assert tables.sum() == values.size + -values.size % 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 2000.0, 1e300, -1e300])
def test_edges_that_do_not_cover_the_values(dtype, scale):
    values = wild_values(dtype)
    edges = np.linspace(0.25, 0.75, 1001)
    counts, check = guarded(1000, np.int64, -1)
    counting.count_direct(values, edges, scale, counts)
    check()
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    np.testing.assert_array_equal(counts, np.histogram(finite, edges)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [5000, 60_000])
def test_values_that_change_while_they_are_counted(dtype, size):
    """A thread goes on writing; each histogram is some histogram, or is refused as changing."""
    shared = np.zeros(size, dtype)
    seen = shared.view()
    seen.flags.writeable = False
    patterns = [np.resize(wild_values(dtype), size), np.zeros(size, dtype), np.full(size, 9, dtype)]
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for pattern in patterns:
                shared[:] = pattern

    thread = threading.Thread(target=change)
    thread.start()
    made = 0
    try:
        for _ in range(150):
            for bins in (EqualWidth(1000), EqualWidth(3), default_edges()):
                try:
                    result = histogram(seen, bins)
                except InvalidTensorError:  # what was found first cannot be
                    continue
                made += 1
                assert 0 <= result.num <= size
                assert result.counts.min() >= 0
                assert result.counts.sum() <= size
    finally:
        stop.set()
        thread.join()
    assert made
