"""Histograms equal NumPy's integer for integer, for every dtype and any values."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from boardd.reduce.dtypes import as_array
from boardd.reduce.histogram import thresholds
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.histogram import Histogram, histogram
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_BINS, NUMPY_BIN_RULES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

INTEGERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]

properties = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def check(values, bins) -> Histogram:
    """Compares each field of the histogram of ``values`` with NumPy and math.fsum."""
    result = histogram(values, bins)
    with np.errstate(invalid="ignore"):  # newer NumPy warns of signalling NaNs
        wide = values.astype(np.float64).reshape(-1)
    finite = wide[np.isfinite(wide)]
    np.testing.assert_array_equal(result.counts, np.histogram(finite, bins=result.edges)[0])
    assert result.counts.dtype == np.int64
    assert result.edges.dtype == np.float64
    assert result.num == finite.size
    assert result.nan_count == np.isnan(wide).sum()
    assert result.positive_infinity_count == (wide == np.inf).sum()
    assert result.negative_infinity_count == (wide == -np.inf).sum()
    assert result.min == (finite.min() if finite.size else 0.0)
    assert result.max == (finite.max() if finite.size else 0.0)
    # Scaled down by a power of two, fsum cannot overflow.
    down = 2.0**-100
    magnitude = math.fsum(abs(value) * down for value in finite.tolist()) / down
    total = math.fsum(value * down for value in finite.tolist()) / down
    if math.isinf(total):
        assert result.sum == total
    else:
        assert abs(result.sum - total) <= 1e-13 * magnitude + 1e-290 or math.isinf(magnitude)
    largest = max(abs(result.min), abs(result.max))
    if largest < 1e150:
        squares = math.fsum(value * value for value in finite.tolist())
        assert result.sum_squares == pytest.approx(squares, rel=1e-12)
    elif largest > 1.35e154:
        assert result.sum_squares == math.inf
    return result


def weird_floats(dtype):
    """Arrays of any bit pattern, salted with what loops get wrong."""
    width = np.dtype(dtype).itemsize * 8
    info = np.finfo(dtype)
    salt = [0.0, -0.0, 1.0, -1.0, 0.5, float(info.max), float(info.min), float(info.tiny)]
    salt += [float(info.tiny) / 4, math.nan, math.inf, -math.inf]
    elements = st.one_of(
        st.floats(width=width),
        st.floats(min_value=-4, max_value=4, width=width),
        st.sampled_from(salt),
    )
    return hnp.arrays(dtype, st.integers(0, 300), elements=elements)


any_values = st.one_of(
    *(weird_floats(dtype) for dtype in FLOATS),
    *(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3)) for dtype in INTEGERS),
)
edges = (
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=40)
    | st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=12)
).map(lambda found: Edges(np.sort(found)))
any_bins = st.one_of(
    st.sampled_from([1, 2, 3, 10, 100, 1000]).map(EqualWidth), edges, st.just(default_edges())
)


@properties
@given(any_values, any_bins)
def test_any_values_and_bins(values, bins):
    check(values, bins)


@properties
@given(any_values, st.sampled_from(NUMPY_BIN_RULES))
def test_rules_on_any_values(values, name):
    check(values, Rule(name))


@properties
@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 400))
def test_values_on_and_beside_the_edges(data, dtype, count):
    """The values are the edges themselves and their neighbours: where guesses go wrong."""
    low = data.draw(st.floats(-1e4, 1e4, width=16))
    width = data.draw(st.floats(2**-10, 1e4, width=16))
    sides = np.linspace(low, low + width, count + 1)
    near = sides.astype(dtype)
    infinity = near.dtype.type(np.inf)
    with np.errstate(over="ignore"):
        values = np.concatenate([near, np.nextafter(near, infinity), np.nextafter(near, -infinity)])
    check(values, Edges(sides))
    check(values, EqualWidth(count))


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize(
    "bins", [EqualWidth(1), EqualWidth(30), EqualWidth(1000), EqualWidth(50_000), default_edges()]
)
def test_large_arrays(dtype, bins):
    random = np.random.default_rng(7)
    if dtype in FLOATS:
        values = random.standard_normal(70_001).astype(dtype)
        values[::1000] = np.nan
        values[1::5000] = np.inf
        values[2::7000] = -np.inf
        values[50_000:60_000] = 0.0
    elif dtype == "bool":
        values = random.random(70_001) < 0.25
    else:
        info = np.iinfo(dtype)
        values = random.integers(info.min, info.max, 70_001, dtype=dtype, endpoint=True)
    check(values, bins)
    check(values[:9000], bins)
    check(values[:3000], bins)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("size", [1, 1024, 1025, 20_000])
def test_one_compiled_call_equals_the_steps(dtype, size, monkeypatch):
    """Edges and sums to the last bit, whichever way the values are counted."""
    values = np.random.default_rng(5).standard_normal(size) * 40 + 7
    zeros, alike = np.maximum(values, 0), np.full(size, -3.5)
    holes = values.copy()
    holes[1::3] = np.nan
    holes[2::7] = np.inf
    kinds = (values, -np.abs(values), zeros, alike, holes if dtype[0] == "f" else values)
    for kind in kinds:
        own = kind.astype(dtype)
        for count in (1, 7, 1000, 4097, MAX_BINS):
            made = check(own, EqualWidth(count))
            with monkeypatch.context() as patched:
                patched.setattr(
                    "boardd.reduce.histogram.histogram._equal_width_histogram", lambda *_: None
                )
                expected = histogram(own, EqualWidth(count))
            assert made.edges.tobytes() == expected.edges.tobytes()
            assert made.counts.tobytes() == expected.counts.tobytes()
            assert (made.sum, made.sum_squares) == (expected.sum, expected.sum_squares)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_way_to_count_is_taken_and_exact(dtype):
    """Float32 positions, float64 positions, and halving each have cases of their own."""
    values = np.random.default_rng(3).standard_normal(30_000).astype(dtype)
    own = np.dtype(dtype)
    even, many = np.linspace(-2, 2, 501), np.linspace(-2, 2, MAX_BINS + 1)
    uneven = np.sort(np.random.default_rng(4).standard_normal(200))
    assert thresholds.uniform(even, own) is not None
    assert (thresholds.uniform(many, own) is None) == (dtype == "float32")
    assert thresholds.uniform(many, np.dtype("float64")) is not None
    assert thresholds.uniform(uneven, own) is None
    for sides in (even, many, uneven):
        result = check(values, Edges(sides))
        assert result.counts.sum() < result.num


def test_bfloat16():
    patterns = np.arange(1 << 16, dtype="<u2")
    values = as_array(patterns.tobytes(), "bfloat16", (1 << 16,))
    result = check(values, default_edges())
    # 7 fraction bits: two infinities and 2 * 127 patterns of NaN.
    assert (result.positive_infinity_count, result.negative_infinity_count) == (1, 1)
    assert result.nan_count == 254


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "values",
    [
        [],
        [3.5],
        [2.0] * 9,
        [math.nan] * 3,
        [math.inf, -math.inf, math.nan],
        [0.0, -0.0],
        [-0.0],
        [math.inf, 1.0, -math.inf, 2.0],
        [math.nan, 1.0, -math.nan, 2.0],
    ],
)
@pytest.mark.parametrize("bins", [EqualWidth(10), default_edges(), Edges([2.0, 2.0]), Rule("auto")])
def test_few_values(values, dtype, bins):
    check(np.array(values, dtype), bins)


def test_no_values_have_zero_statistics_over_zero_to_one():
    result = histogram(np.array([math.nan, math.inf], np.float32), EqualWidth(4))
    assert (result.min, result.max, result.num, result.sum, result.sum_squares) == (0, 0, 0, 0, 0)
    assert result.edges.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert result.counts.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308, 1.7e308, -1.7e308],
        [1.7976931348623157e308] * 4,
        [1e308] * 8 + [-1e308] * 8,
        [5e-324, 1e-323, 0.0, -5e-324],
        [2.2250738585072014e-308, 5e-324],
        [1.0, np.nextafter(1.0, 2.0)],
        [1e17, 1e17],
    ],
)
@pytest.mark.parametrize("bins", [EqualWidth(1), EqualWidth(7), EqualWidth(1000), Rule("fd")])
def test_huge_and_subnormal_values(values, bins):
    check(np.array(values), bins)


def test_a_sum_whose_partial_sums_overflow_is_exact():
    values = np.array([1.5e308] * 5000 + [-1.5e308] * 5000 + [1.0])
    assert histogram(values, EqualWidth(2)).sum == 0.0
    assert histogram(values[:6000], EqualWidth(2)).sum == math.inf


def test_sums_of_narrow_types_do_not_overflow():
    assert histogram(np.full(10, 60000, np.float16), EqualWidth(1)).sum == 600_000
    assert histogram(np.full(1000, 3e38, np.float32), EqualWidth(1)).sum == 1000 * float(
        np.float32(3e38)
    )
    assert histogram(np.full(1000, 255, np.uint8), EqualWidth(1)).sum_squares == 1000 * 255**2
    assert histogram(np.full(4, 2**63, np.uint64), EqualWidth(1)).sum == 2.0**65


@pytest.mark.parametrize(
    "values",
    [
        np.arange(600, dtype=np.float32).reshape(20, 30)[::3, ::-2],
        np.arange(600, dtype=">f4"),
        np.arange(600, dtype=">i8"),
        np.frombuffer(b"x" + struct.pack("<600d", *range(600)), np.uint8)[1:].view("<f8"),
        np.array(2.5, np.float32),
        np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    ],
    ids=["strided", "big-endian floats", "big-endian integers", "unaligned", "0-d", "fortran"],
)
def test_any_memory_layout(values):
    check(values, EqualWidth(10))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "U3", "O"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InvalidTensorError, match="a histogram of"):
        histogram(np.zeros(3, dtype), EqualWidth(1))


def test_values_outside_explicit_edges_are_in_no_bucket():
    result = histogram(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), Edges([0.0, 0.5, 1.0]))
    assert result.counts.tolist() == [1, 2]
    assert (result.num, result.min, result.max, result.sum) == (5, -1.0, 2.0, 2.5)


def test_results_are_read_only():
    result = histogram(np.arange(5.0), EqualWidth(2))
    assert not result.counts.flags.writeable
    assert not result.edges.flags.writeable


def test_threads_do_not_disturb_each_other():
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(40_000).astype(np.float32) for _ in range(4)]
    expected = [histogram(array, EqualWidth(100)).counts for array in arrays]
    wrong = []

    def repeat(array, counts):
        for _ in range(50):
            if not np.array_equal(histogram(array, EqualWidth(100)).counts, counts):
                wrong.append(array)

    threads = [
        threading.Thread(target=repeat, args=pair) for pair in zip(arrays, expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def run_python(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_importing_does_not_import_numba():
    done = run_python(
        """
        import sys
        import boardd.reduce.histogram.histogram, boardd.reduce.histogram.rules
        import boardd.reduce.image.grid
        assert "numba" not in sys.modules
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))", id="cache cannot be written"
        ),
        pytest.param(
            "os.environ['NUMBA_CACHE_DIR'] = os.devnull + '/cache'", id="no place for a cache"
        ),
    ],
)
def test_kernels_run_without_a_cache_on_disk(trouble, tmp_path):
    done = run_python(
        f"""
        import os, resource
        import numpy as np
        from boardd.reduce.histogram.bins import EqualWidth
        {trouble}
        from boardd.reduce.histogram.histogram import histogram
        print(histogram(np.arange(8, dtype=np.float32), EqualWidth(2)).counts.tolist())
        """,
        NUMBA_CACHE_DIR=str(tmp_path),
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )
    assert done.stdout == "[4, 4]\n", done.stderr
    assert not list(tmp_path.rglob("*.nbc"))
