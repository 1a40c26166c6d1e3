"""Embeddings to fewer dimensions by principal component analysis.

The axes are the eigenvectors of the smaller of two matrices: the covariance
[d, d] of the columns, or the Gram matrix [n, n] of the centred rows, whose
non-zero eigenvalues are the same (Jolliffe, Principal Component Analysis, 2nd
edition, section 3.5). All sums are float64 and made block by block, so the
memory beside matrix and result depends on the smaller side, not on n times d.

If the smaller side is above ``EXACT_SIDE``, the leading eigenvectors come
from seeded randomized subspace iteration (Halko, Martinsson and Tropp, 2011,
algorithms 4.4 and 5.3), which sees the same matrix only through its blocks.

Signs are scikit-learn's (``svd_flip`` on the loadings): in each axis, the
loading with the largest absolute value is positive, the first one of equals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_EMBEDDING_ROWS

#: The largest smaller side of a matrix that is decomposed exactly.
EXACT_SIDE: Final = 4096

#: The columns above which the projector replaces the matrix by a random projection.
MAX_PROJECTED_DIMENSIONS: Final = 200

_BLOCK_BYTES: Final = 32 << 20
_OVERSAMPLING: Final = 32
_ITERATIONS: Final = 6
_SEED: Final = 20_110

#: What BLAS keeps for itself, on a few threads.
_BLAS_BYTES: Final = 64 << 20

#: Above 2 to this, or below its reciprocal, squares might leave float64.
_SAFE_EXPONENT: Final = 300

_Matrix = npt.NDArray[np.float64]
_Blocks = Callable[[], Iterator[_Matrix]]


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Rows on their first k principal axes, k at most rows and columns of the matrix.

    ``points`` is float32[n, k], centred. ``explained_variance_ratio`` is
    float64[k]: each axis's share of the variance of all columns, falling, 0
    if nothing varies. ``exact`` is False if it was approximated.
    """

    points: npt.NDArray[np.float32]
    explained_variance_ratio: npt.NDArray[np.float64]
    exact: bool

    @property
    def explained_variance(self) -> float:
        """The share of the variance that all axes together keep, 0 to 1."""
        return min(float(self.explained_variance_ratio.sum()), 1.0)


def project(
    matrix: npt.NDArray[Any], dimensions: int, *, exact_side: int = EXACT_SIDE
) -> Projection:
    """Returns ``matrix`` projected to at most ``dimensions`` columns.

    Args:
        matrix: [n, d], of bool, an integer type, float16, float32 or float64
            (bfloat16 comes as float32), at least one row and one column.
            64-bit integers are rounded to float64.
        dimensions: axes to keep, at least 1; fewer if n or d is smaller.
        exact_side: above this min(n, d) the axes are approximated.

    Directions whose variance drowns in the rounding of the largest one's
    (n = 1 and constant columns among them) get coordinates 0. The same matrix
    gives the same result, bit for bit on the same BLAS.

    Raises ``InvalidTensorError`` for another dtype or shape, rows that hold NaN or
    infinity, and distances that float32 cannot hold.
    """
    if matrix.dtype.kind not in "biuf" or matrix.dtype.itemsize > 8:
        raise InvalidTensorError(
            f"an embedding of {matrix.dtype}; give bool, an integer or a float up to 64 bits"
        )
    if matrix.ndim != 2 or matrix.size == 0:
        raise InvalidTensorError(
            f"an embedding of shape {matrix.shape}; give [rows, columns], at least one of each"
        )
    if dimensions < 1:
        raise InvalidTensorError(f"{dimensions} dimensions; give at least 1")
    rows, columns = matrix.shape
    kept = min(dimensions, rows, columns)
    scale = _scale(_largest(matrix))
    mean = _mean(matrix, scale)

    def row_blocks() -> Iterator[_Matrix]:
        for part in _slices(rows, columns):
            block = _widened(matrix[part], scale)
            block -= mean
            yield block

    def column_blocks() -> Iterator[_Matrix]:
        for part in _slices(columns, rows):
            block = _widened(matrix[:, part].T, scale)
            block -= mean[part, np.newaxis]
            yield block

    blocks = row_blocks if columns <= rows else column_blocks
    side = min(rows, columns)
    exact = side <= exact_side
    if exact:
        total, values, axes = _eigenvectors(blocks, side, kept)
    else:
        total, values, axes = _leading_eigenvectors(blocks, side, kept)
    values[values <= values[0] * side * np.finfo(np.float64).eps] = 0
    # Axes without variance are any basis of what is left over: they show nothing.
    axes[:, values == 0] = 0

    points = np.empty((rows, kept), np.float32)
    if columns <= rows:
        axes *= _signs(iter((axes,)))
        for part, block in zip(_slices(rows, columns), blocks(), strict=True):
            _narrow(block @ axes, scale, points[part])
    else:
        axes *= np.sqrt(values) * _signs(block @ axes for block in blocks())
        _narrow(axes, scale, points)
    if not np.isfinite(points).all():
        raise InvalidTensorError(
            "distances between the rows are above the range of float32; scale the embedding down"
        )
    return Projection(points, values / total if total > 0 else values, exact)


def working_bytes(
    rows: int,
    columns: int,
    dimensions: int = MAX_PROJECTED_DIMENSIONS,
    *,
    exact_side: int = EXACT_SIDE,
) -> int:
    """Returns the most memory in bytes that ``project`` takes, its result included.

    The matrix itself is not counted.
    """
    side = min(rows, columns)
    kept = min(dimensions, side)
    if side <= exact_side:
        # The matrix, then LAPACK's copy, its eigenvectors and twice as much workspace (syevd).
        decomposition = 5 * side * side
    else:
        sample = min(kept + _OVERSAMPLING, side)
        decomposition = 5 * side * sample + 5 * sample * sample
    block_bytes = min(max(_BLOCK_BYTES, 8 * max(rows, columns)), 8 * rows * columns)
    return (
        8 * decomposition
        + 8 * side * kept
        + 8 * columns
        + 3 * block_bytes
        + 4 * rows * kept
        + _BLAS_BYTES
    )


def sample_rows(rows: int, limit: int = MAX_EMBEDDING_ROWS, seed: int = 0) -> npt.NDArray[np.int64]:
    """Returns the rows to keep, int64[min(rows, limit)], ascending.

    All of them, or a uniform sample without replacement. Index the matrix,
    the labels and the images by it, and they stay aligned.

    Raises ``InvalidTensorError`` for negative rows or a limit below 1.
    """
    if rows < 0 or limit < 1:
        raise InvalidTensorError(
            f"a sample of {limit} of {rows} rows; keep at least 1 of 0 or more"
        )
    if rows <= limit:
        return np.arange(rows, dtype=np.int64)
    kept = np.random.default_rng(seed).choice(rows, limit, replace=False, shuffle=False)
    kept.sort()
    return kept.astype(np.int64, copy=False)


def _slices(count: int, length: int) -> Iterator[slice]:
    """Yields what to take of ``count`` vectors of ``length`` at a time."""
    step = max(1, _BLOCK_BYTES // (8 * length))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _widened(part: npt.NDArray[Any], scale: float) -> _Matrix:
    block: _Matrix = np.array(part, np.float64, order="C")
    if scale != 1:
        block *= scale
    return block


def _narrow(block: _Matrix, scale: float, points: npt.NDArray[np.float32]) -> None:
    """Writes ``block``, scaled back, to ``points``."""
    with np.errstate(over="ignore", under="ignore"):
        if scale != 1:
            block /= scale
        points[...] = block


def _largest(matrix: npt.NDArray[Any]) -> float:
    """Returns the largest absolute value; raises if one is not finite."""
    if matrix.dtype.kind != "f":
        return 1.0
    largest = 0.0
    bad_rows = 0
    first = -1
    for part in _slices(*matrix.shape):
        # The larger one is NaN if a value is.
        with np.errstate(invalid="ignore"):
            bound = float(np.maximum(matrix[part].max(), -matrix[part].min()))
        if np.isfinite(bound):
            largest = max(largest, bound)
            continue
        bad = np.flatnonzero(~np.isfinite(matrix[part]).all(axis=1))
        if not bad_rows:
            first = part.start + int(bad[0])
        bad_rows += bad.size
    if bad_rows:
        raise InvalidTensorError(
            f"{bad_rows} of {matrix.shape[0]} rows hold NaN or infinity, the first is row {first}; "
            "leave them out"
        )
    return largest


def _scale(largest: float) -> float:
    """Returns the power of two that takes values to where their squares are safe."""
    exponent = int(np.frexp(largest)[1])
    if largest == 0 or abs(exponent) <= _SAFE_EXPONENT:
        return 1.0
    return 2.0 ** -max(exponent, -1000)


def _mean(matrix: npt.NDArray[Any], scale: float) -> _Matrix:
    """Returns the means of the columns, of a constant column exactly its value."""
    origin = _widened(matrix[0], scale)
    total = np.zeros(matrix.shape[1], np.float64)
    for part in _slices(*matrix.shape):
        block = _widened(matrix[part], scale)
        block -= origin
        total += block.sum(axis=0)
    total /= matrix.shape[0]
    total += origin
    return total


def _eigenvectors(blocks: _Blocks, side: int, kept: int) -> tuple[float, _Matrix, _Matrix]:
    """Returns trace, leading eigenvalues and eigenvectors [side, kept] of the sum of B'B."""
    scatter = np.zeros((side, side), np.float64)
    product = np.empty((side, side), np.float64)
    for block in blocks():
        np.matmul(block.T, block, out=product)
        scatter += product
    # Both would stay in memory with LAPACK's workspace.
    del product, block
    total = float(np.trace(scatter))
    values, vectors = np.linalg.eigh(scatter)
    return total, *_leading(values, vectors, kept)


def _leading_eigenvectors(blocks: _Blocks, side: int, kept: int) -> tuple[float, _Matrix, _Matrix]:
    """Returns what ``_eigenvectors`` does, approximated from a random subspace."""
    sample = min(kept + _OVERSAMPLING, side)
    basis: _Matrix = np.random.default_rng(_SEED).standard_normal((side, sample))
    total = 0.0
    for iteration in range(_ITERATIONS + 1):
        basis = np.linalg.qr(basis)[0]
        image = np.zeros((side, sample), np.float64)
        for block in blocks():
            image += block.T @ (block @ basis)
            if iteration == 0:
                total += float(np.vdot(block, block))
        if iteration < _ITERATIONS:
            basis = image
    # Rayleigh-Ritz: the eigenvectors within the subspace.
    values, vectors = np.linalg.eigh(basis.T @ image)
    values, vectors = _leading(values, vectors, kept)
    return total, values, basis @ vectors


def _leading(values: _Matrix, vectors: _Matrix, kept: int) -> tuple[_Matrix, _Matrix]:
    """Returns the ``kept`` largest of ascending eigenvalues, and their eigenvectors."""
    return (
        np.maximum(values[: -kept - 1 : -1], 0),
        np.ascontiguousarray(vectors[:, : -kept - 1 : -1]),
    )


def _signs(loadings: Iterator[_Matrix]) -> _Matrix:
    """Returns 1 or -1 for each column, that makes its largest loading positive."""
    largest: _Matrix | None = None
    for part in loadings:
        rows = np.abs(part).argmax(axis=0)
        candidates = np.take_along_axis(part, rows[np.newaxis], axis=0)[0]
        if largest is None:
            largest = candidates
        else:
            largest = np.where(np.abs(candidates) > np.abs(largest), candidates, largest)
    assert largest is not None
    return np.where(largest < 0, -1.0, 1.0)
