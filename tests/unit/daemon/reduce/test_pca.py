"""Projections equal scikit-learn's PCA, signs included, on every route."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from boardd.reduce.pca import project, sample_rows, working_bytes
from boardd_protos.invalid import InvalidTensorError
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA


def spread(rows, columns, dtype=np.float64, seed=0):
    """A matrix whose principal axes are well apart, off the origin."""
    random = np.random.default_rng(seed)
    side = min(rows, columns)
    scores = random.standard_normal((rows, side)) * 0.9 ** np.arange(side)
    axes = np.linalg.qr(random.standard_normal((columns, side)))[0]
    return (scores @ axes.T + random.standard_normal(columns)).astype(dtype)


def assert_equals_sklearn(projection, matrix, tolerance=2e-6):
    wide = matrix.astype(np.float64)
    reference = PCA(projection.points.shape[1], svd_solver="full").fit(wide)
    expected = reference.transform(wide)
    size = np.abs(expected).max()
    np.testing.assert_allclose(projection.points, expected, rtol=0, atol=tolerance * size)
    np.testing.assert_allclose(
        projection.explained_variance_ratio,
        reference.explained_variance_ratio_,
        rtol=1e-6,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (120, 120), (121, 120), (2, 5), (5, 2)])
def test_equals_scikit_learn_on_both_sides(shape, dtype):
    matrix = spread(*shape, dtype)
    projection = project(matrix, 10)
    assert projection.points.dtype == np.float32
    assert projection.explained_variance_ratio.dtype == np.float64
    assert projection.exact
    # Of centred rows, the last axis of a square or wide matrix may be none at all.
    kept = min(10, shape[0] - 1, shape[1])
    trimmed = project(matrix, kept)
    np.testing.assert_array_equal(trimmed.points, projection.points[:, :kept])
    assert_equals_sklearn(trimmed, matrix)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "int64"])
def test_integers(dtype):
    random = np.random.default_rng(3)
    matrix = random.integers(0, 2 if dtype == "bool" else 100, (200, 12)).astype(dtype)
    assert_equals_sklearn(project(matrix, 4), matrix)


def test_real_digits():
    digits = load_digits().data
    assert digits.shape == (1797, 64)
    assert_equals_sklearn(project(digits, 20), digits)
    assert_equals_sklearn(project(digits[:40], 20), digits[:40])


def test_blocks_give_the_same_as_the_whole(monkeypatch):
    """Blocks of a few rows or columns, against scikit-learn on the whole."""
    monkeypatch.setattr("boardd.reduce.pca._BLOCK_BYTES", 8 * 60 * 7)
    for shape in [(60, 20), (20, 60)]:
        matrix = spread(*shape, np.float32)
        assert_equals_sklearn(project(matrix, 8), matrix)


@pytest.mark.parametrize("order", ["C", "F", "strided", "read-only", "big-endian"])
def test_memory_layouts(order):
    matrix = spread(50, 20)
    laid_out = {
        "C": matrix,
        "F": np.asfortranarray(matrix),
        "strided": np.repeat(np.repeat(matrix, 2, 0), 3, 1)[::2, ::3],
        "read-only": matrix.copy(),
        "big-endian": matrix.astype(">f8"),
    }[order]
    laid_out.flags.writeable = False
    np.testing.assert_array_equal(project(laid_out, 5).points, project(matrix, 5).points)


def test_signs_make_the_largest_loading_positive():
    for shape in [(80, 30), (30, 80)]:
        matrix = spread(*shape, seed=5)
        points = project(matrix, 6).points.astype(np.float64)
        # The loadings are, up to a positive factor, the covariance of columns and coordinates.
        loadings = (matrix - matrix.mean(0)).T @ points
        largest = np.abs(loadings).argmax(axis=0)
        assert (loadings[largest, np.arange(6)] > 0).all()
        np.testing.assert_allclose(
            project(-matrix, 6).points, -points, atol=1e-6 * np.abs(points).max()
        )


def test_the_same_matrix_gives_the_same_bits():
    matrix = spread(90, 70, np.float32)
    for exact_side in (4096, 10):
        first, second = (project(matrix, 5, exact_side=exact_side) for _ in range(2))
        assert first.points.tobytes() == second.points.tobytes()


@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    dimensions=st.integers(1, 15),
    seed=st.integers(0, 1000),
    exact_side=st.sampled_from([1, 4096]),
)
@settings(max_examples=60, deadline=None)
def test_distances_between_rows_are_kept_when_every_axis_is(
    rows, columns, dimensions, seed, exact_side
):
    matrix = np.random.default_rng(seed).integers(-4, 5, (rows, columns)).astype(np.float32)
    projection = project(matrix, dimensions, exact_side=exact_side)
    kept = min(rows, columns, dimensions)
    assert projection.points.shape == (rows, kept)
    assert projection.explained_variance_ratio.shape == (kept,)
    assert (np.diff(projection.explained_variance_ratio) <= 1e-12).all()
    assert 0 <= projection.explained_variance <= 1
    if kept == min(rows, columns):
        before, after = (
            np.linalg.norm(points[:, np.newaxis] - points, axis=2)
            for points in (matrix.astype(np.float64), projection.points.astype(np.float64))
        )
        np.testing.assert_allclose(after, before, atol=2e-5)


def test_one_row_one_column_and_nothing_that_varies():
    single = project(np.arange(300.0)[np.newaxis], 200)
    assert single.points.tolist() == [[0.0]]
    assert single.explained_variance_ratio.tolist() == [0.0]
    column = project(np.array([[1], [3], [8]]), 200)
    np.testing.assert_allclose(column.points, [[-3], [-1], [4]])
    assert column.explained_variance == 1
    constant = project(np.full((30, 10), 0.1), 4)
    assert constant.points.shape == (30, 4)
    assert not constant.points.any()
    assert constant.explained_variance == 0


def test_constant_columns_show_nothing():
    matrix = spread(50, 6)
    padded = np.hstack([matrix, np.full((50, 10), 1e3)])
    points = project(padded, 9).points
    np.testing.assert_allclose(points[:, :6], project(matrix, 6).points, atol=1e-5)
    assert not points[:, 6:].any()


def test_a_far_origin_does_not_drown_the_shape():
    matrix = spread(100, 20)
    near = project(matrix, 5).points
    np.testing.assert_allclose(project(matrix + 1e6, 5).points, near, atol=1e-5)


@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-130, 2.0**120])
def test_huge_and_tiny_values(factor):
    matrix = spread(40, 10)
    with np.errstate(under="ignore"):
        expected = (project(matrix, 4).points.astype(np.float64) * factor).astype(np.float32)
    projection = project(matrix * factor, 4)
    np.testing.assert_allclose(projection.points, expected, rtol=1e-6, atol=1e-44)
    np.testing.assert_allclose(
        projection.explained_variance_ratio, project(matrix, 4).explained_variance_ratio
    )


def test_what_float32_cannot_hold_is_refused():
    with pytest.raises(InvalidTensorError, match="float32"):
        project(spread(40, 10) * 1e300, 4)


@pytest.mark.parametrize("shape", [(900, 300), (300, 900)])
def test_the_approximation_is_close(shape):
    matrix = spread(*shape, np.float32)
    projection = project(matrix, 10, exact_side=100)
    assert not projection.exact
    assert_equals_sklearn(projection, matrix, tolerance=1e-4)


def test_the_approximation_keeps_nearly_all_variance_of_a_flat_spectrum():
    noise = np.random.default_rng(0).standard_normal((1500, 600)).astype(np.float32)
    exact, close = (project(noise, 50, exact_side=side) for side in (4096, 100))
    assert exact.exact
    assert not close.exact
    assert close.explained_variance > 0.97 * exact.explained_variance
    assert close.explained_variance <= exact.explained_variance + 1e-9


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_that_are_not_finite_are_counted(dtype, value):
    matrix = spread(50, 8).astype(dtype)
    matrix[[7, 7, 31], [2, 3, 0]] = value
    with pytest.raises(InvalidTensorError, match=r"2 of 50 rows .* the first is row 7"):
        project(matrix, 2)


@pytest.mark.parametrize(
    ("matrix", "dimensions", "message"),
    [
        (np.zeros((0, 5)), 2, r"\(0, 5\)"),
        (np.zeros((5, 0)), 2, r"\(5, 0\)"),
        (np.zeros(5), 2, r"\(5,\)"),
        (np.zeros((2, 3, 4)), 2, r"\(2, 3, 4\)"),
        (np.zeros((5, 5)), 0, "0 dimensions"),
        (np.zeros((5, 5)), -1, "-1 dimensions"),
        (np.zeros((5, 5), complex), 2, "complex128"),
        (np.zeros((5, 5), object), 2, "object"),
    ],
)
def test_what_is_no_embedding(matrix, dimensions, message):
    with pytest.raises(InvalidTensorError, match=message):
        project(matrix, dimensions)


@pytest.mark.parametrize(("rows", "columns"), [(4000, 1200), (1200, 4000)])
def test_memory_stays_within_what_is_announced(rows, columns):
    """The growth of the peak, in a process of its own."""
    script = f"""
import re, numpy as np
from boardd.reduce.pca import project
def peak_kib():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
matrix = np.random.default_rng(0).standard_normal(({rows}, {columns}), dtype=np.float32)
project(matrix[:50, :50], 5)
before = peak_kib()
project(matrix, 100)
print((peak_kib() - before) * 1024)
"""
    grown = int(
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, timeout=120
        ).stdout
    )
    assert 10 << 20 < grown <= working_bytes(rows, columns, 100)


def test_announced_memory_depends_on_the_smaller_side():
    assert working_bytes(100_000, 512) < 400 << 20
    assert working_bytes(512, 100_000) < 400 << 20
    assert working_bytes(100_000, 100_000) < 2 << 30


def test_other_threads_run_meanwhile():
    matrix = np.random.default_rng(0).standard_normal((900, 900))
    done = threading.Event()
    worker = threading.Thread(target=lambda: (project(matrix, 10), done.set()))
    ticks = 0
    worker.start()
    while not done.wait(0.001):
        ticks += 1
    worker.join()
    assert ticks > 20


def test_samples_are_ascending_unique_and_repeatable():
    sample = sample_rows(1000, 100, seed=4)
    assert sample.dtype == np.int64
    assert sample.shape == (100,)
    assert (np.diff(sample) > 0).all()
    assert sample[0] >= 0
    assert sample[-1] < 1000
    np.testing.assert_array_equal(sample, sample_rows(1000, 100, seed=4))
    assert not np.array_equal(sample, sample_rows(1000, 100, seed=5))


def test_samples_come_from_everywhere():
    sample = sample_rows(1_000_000)
    assert sample.size == 100_000
    tenths = np.bincount(sample // 100_000, minlength=10)
    assert (np.abs(tenths - 10_000) < 500).all()


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_few_rows_are_all_kept(rows):
    np.testing.assert_array_equal(sample_rows(rows, 100), np.arange(rows))


@pytest.mark.parametrize(("rows", "limit"), [(-1, 10), (10, 0)])
def test_samples_that_cannot_be(rows, limit):
    with pytest.raises(InvalidTensorError, match=f"{limit} of {rows}"):
        sample_rows(rows, limit)
