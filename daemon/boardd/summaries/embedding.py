"""Embeddings: the rows that are shown, their projection, labels and thumbnails.

What TensorBoard's projector would do less well is done here. Rows that hold NaN
or infinity, at which it fails, are left out. Of more rows than it loads a
uniform sample is kept, while the projector would take the first ones. A matrix with more
columns than wished is projected by PCA. Labels and images stay with their rows.
If anything was changed, a text summary ``<tag>/projection`` says what.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from boardd_protos.limits import MAX_LABELS
from numpy.typing import NDArray

from boardd.events import plugins
from boardd.events.embedding import EmbeddingFiles, embedding_folder, metadata_tsv
from boardd.events.tensors import as_float32
from boardd.reduce import pca
from boardd.reduce.image.png import encode_png
from boardd.reduce.image.sprite import sprite
from boardd.summaries.reduction import ReductionInput, ReductionOutput, named_arrays

#: Appended to an embedding's tag: the text that says what became of it.
NOTE_SUFFIX: Final = "/projection"

#: A projection may always take this much memory: what BLAS keeps, and a few blocks.
MIN_WORKING_BYTES: Final = 256 << 20

#: Axes whose share of the variance is listed.
_LISTED_AXES: Final = 10

_BLOCK_BYTES: Final = 4 << 20
_LABEL_ROWS: Final = 1024
_MEBIBYTE: Final = 1 << 20

_Rows = NDArray[np.int64]


def summarize_embedding(source: ReductionInput) -> ReductionOutput:
    """An embedding's side files, and the text that says what was changed, if anything was.

    Raises ``InvalidRecordError`` when the payload names its tensors wrongly, and
    ``InvalidTensorError`` for a matrix, labels or images that do not fit and for a projection
    that does not fit the memory.
    """
    kept = kept_rows(source)
    options = source.payload.embedding
    return shown_embedding(
        source.tag,
        source.step if options.has_step else None,
        kept,
        list(options.metadata_header),
        options.project_to,
        source.max_working_bytes,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class KeptRows:
    """The rows that are shown of an embedding of ``logged`` rows.

    ``matrix`` is [rows, columns], float32 unless it is to be projected. ``labels`` are the
    columns of text of each row, and ``images`` [rows, channels, height, width]. ``notes`` say
    what was left out.
    """

    logged: int
    matrix: NDArray[Any]
    labels: Iterable[Sequence[str]] | None
    images: NDArray[Any] | None
    notes: Sequence[str]


def kept_rows(source: ReductionInput, max_rows: Callable[[int], int] | None = None) -> KeptRows:
    """Returns the rows to show of a record, at most as many as the projector loads.

    ``max_rows`` leads from the bytes that a row takes, labels left out, to the most rows to
    keep. Raises as ``summarize_embedding``.
    """
    options = source.payload.embedding
    named = named_arrays(
        source,
        labels=options.labels_tensor,
        metadata=options.metadata_tensor,
        images=options.images_tensor,
    )
    matrix = _checked_matrix(source.arrays[0])
    rows, columns = matrix.shape
    if not 0 < options.project_to < columns:
        matrix = as_float32(matrix)
    images = named["images"]
    if images is not None:
        _check_images(images, rows)
    limit = None
    if max_rows is not None:
        limit = max_rows((matrix.nbytes + (0 if images is None else images.nbytes)) // rows)
    kept, notes = _rows_to_show(matrix, limit)
    labels = _labels(named["labels"], named["metadata"], rows, kept)
    if len(kept) < rows:
        matrix = matrix[kept]
        images = None if images is None else images[kept]
    return KeptRows(rows, matrix, labels, images, notes)


def shown_embedding(
    tag: str,
    step: int | None,
    kept: KeptRows,
    header: Sequence[str],
    project_to: int,
    max_working_bytes: int,
) -> ReductionOutput:
    """Returns the files of the rows, and the text that says what was changed, if anything was.

    ``step`` is part of the folder's name unless it is None; ``header`` names the columns of
    labels. Raises as ``summarize_embedding``.
    """
    metadata = None
    if kept.labels is not None:
        metadata = metadata_tsv(kept.labels, header)
    notes = list(kept.notes)
    thumbnails, dimensions = _thumbnails(kept.images, notes)
    shown = kept.matrix
    columns = shown.shape[1]
    if 0 < project_to < columns:
        shown = _projected(shown, project_to, max_working_bytes, notes)
    points = np.ascontiguousarray(shown, "<f4")
    files = EmbeddingFiles(
        embedding_folder(tag, step),
        points.data,
        (points.shape[0], points.shape[1]),
        metadata=metadata,
        sprite=thumbnails,
        sprite_dims=dimensions,
    )
    if not notes:
        return ReductionOutput(embedding=files)
    text = "\n\n".join(
        [f"**{files.folder}**: {kept.logged:,} rows of {columns:,} dimensions.", *notes]
    )
    note = plugins.text_value(tag + NOTE_SUFFIX, text)
    return ReductionOutput([note], embedding=files)


def _checked_matrix(matrix: NDArray[Any]) -> NDArray[Any]:
    if matrix.dtype.kind not in "biuf" or matrix.ndim != 2 or not matrix.size:
        raise InvalidTensorError(
            f"an embedding of {matrix.dtype} and shape {matrix.shape}; "
            "give numbers [rows, columns], at least one of each"
        )
    return matrix


# Rows --------------------------------------------------------------------------------


def _rows_to_show(matrix: NDArray[Any], limit: int | None) -> tuple[_Rows, list[str]]:
    """Returns which rows are shown, ascending, and what is to be said about the others."""
    notes = []
    is_finite = _is_finite(matrix)
    finite = np.flatnonzero(is_finite)
    if not len(finite):
        raise InvalidTensorError(f"each of the {len(matrix)} rows holds NaN or infinity")
    if len(finite) < len(matrix):
        notes.append(
            f"{len(matrix) - len(finite):,} rows that hold NaN or infinity are left out; "
            f"the first is row {is_finite.argmin()}."
        )
    kept = finite[pca.sample_rows(len(finite))]
    reason = "the projector loads no more"
    if limit is not None and limit < len(kept):
        kept = finite[pca.sample_rows(len(finite), limit)]
        reason = "of several ranks no more are kept"
    if len(kept) < len(finite):
        notes.append(
            f"{len(kept):,} of {len(finite):,} rows are shown, a uniform sample: {reason}. "
            "Labels and images are those of the same rows."
        )
    return kept, notes


def _is_finite(matrix: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns of each row whether all of it is finite."""
    rows, columns = matrix.shape
    is_finite = np.ones(rows, bool)
    if matrix.dtype.kind != "f":
        return is_finite
    block_rows = max(1, _BLOCK_BYTES // (columns * matrix.itemsize))
    for start in range(0, rows, block_rows):
        part = slice(start, start + block_rows)
        is_finite[part] = np.isfinite(matrix[part]).all(axis=1)
    return is_finite


# Labels and thumbnails ---------------------------------------------------------------


def _labels(
    labels: NDArray[Any] | None, metadata: NDArray[Any] | None, rows: int, kept: _Rows
) -> Iterable[Sequence[str]] | None:
    """Returns the columns of text of each row that is shown."""
    if labels is not None and metadata is not None:
        raise InvalidRecordError("labels as numbers and as text; give one of them")
    if metadata is not None:
        lines = _lines(metadata, rows)
        _check_count(len(kept) * (lines[0].count("\t") + 1))
        return (lines[row].split("\t") for row in kept.tolist())
    if labels is None:
        return None
    if labels.ndim not in (1, 2):
        raise InvalidTensorError(f"labels of shape {labels.shape}; give [rows] or [rows, columns]")
    _check_rows("labels", len(labels), rows)
    _check_count(len(kept) * (labels.size // rows))
    return _texts(labels.reshape(rows, -1), kept)


def _texts(labels: NDArray[Any], kept: _Rows) -> Iterator[list[str]]:
    for start in range(0, len(kept), _LABEL_ROWS):
        # NumPy's text of a number is as short as reads back in its own type.
        yield from labels[kept[start : start + _LABEL_ROWS]].astype(str).tolist()


def _lines(metadata: NDArray[Any], rows: int) -> list[str]:
    if metadata.dtype != np.uint8 or metadata.ndim != 1:
        raise InvalidTensorError(
            f"labels as text of {metadata.dtype} and shape {metadata.shape}; give uint8 [bytes]"
        )
    # Counted before a text is made of each.
    _check_rows("labels", np.count_nonzero(metadata == ord("\n")), rows)
    try:
        *lines, rest = metadata.tobytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise InvalidTensorError(f"labels that are not UTF-8: {error}") from error
    if rest:
        raise InvalidTensorError("labels whose last line does not end")
    return lines


def _check_rows(what: str, count: int, rows: int) -> None:
    if count != rows:
        raise InvalidTensorError(
            f"{what} of {count} rows for an embedding of {rows}; give one each"
        )


def _check_count(labels: int) -> None:
    if labels > MAX_LABELS:
        raise InvalidTensorError(f"{labels} labels; at most {MAX_LABELS}, use fewer columns")


def _check_images(images: NDArray[Any], rows: int) -> None:
    if images.ndim != 4:
        raise InvalidTensorError(
            f"images of shape {images.shape}; give [rows, channels, height, width]"
        )
    _check_rows("images", len(images), rows)


def _thumbnails(
    images: NDArray[Any] | None, notes: list[str]
) -> tuple[bytes | None, tuple[int, int] | None]:
    """Returns the sheet of thumbnails as PNG, and width and height of one."""
    if images is None:
        return None, None
    sheet = sprite(images)
    height, width = images.shape[2:]
    if (sheet.width, sheet.height) != (width, height):
        notes.append(
            f"Images of {width} x {height} pixels are scaled down to {sheet.width} x "
            f"{sheet.height}: all of them lie in one sheet, whose size the projector limits."
        )
    return encode_png(sheet.pixels), (sheet.width, sheet.height)


# Projection --------------------------------------------------------------------------


def _projected(
    matrix: NDArray[Any], dimensions: int, max_working_bytes: int, notes: list[str]
) -> NDArray[np.float32]:
    budget_bytes = max(max_working_bytes, MIN_WORKING_BYTES)
    exact_side = pca.EXACT_SIDE
    rows, columns = matrix.shape
    needed_bytes = pca.working_bytes(rows, columns, dimensions)
    if needed_bytes > budget_bytes:
        exact_side = 0
        needed_bytes = pca.working_bytes(rows, columns, dimensions, exact_side=exact_side)
    if needed_bytes > budget_bytes:
        raise InvalidTensorError(
            f"projecting {matrix.shape} to {dimensions} dimensions takes "
            f"{needed_bytes // _MEBIBYTE} MiB of memory; {budget_bytes // _MEBIBYTE} MiB may be "
            "used: log fewer rows or columns, or raise --max-tensor-bytes"
        )
    projection = pca.project(matrix, dimensions, exact_side=exact_side)
    ratio = projection.explained_variance_ratio
    notes.append(
        f"Projected to {len(ratio)} dimensions by principal component analysis, which keep "
        f"{projection.explained_variance:.2%} of the variance."
    )
    if not projection.exact:
        notes.append("The axes are approximated: the matrix is too large for exact ones.")
    lines = ["| axis | variance | sum |", "| ---: | ---: | ---: |"]
    total = np.minimum(np.cumsum(ratio), 1)
    listed = sorted({*range(min(len(ratio), _LISTED_AXES)), len(ratio) - 1})
    lines += [f"| {axis + 1} | {ratio[axis]:.2%} | {total[axis]:.2%} |" for axis in listed]
    notes.append("\n".join(lines))
    return projection.points
