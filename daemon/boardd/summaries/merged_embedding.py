"""Embeddings of several ranks: all rows below each other, with a column that names the rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from boardd.events.embedding import metadata_tsv
from boardd.partials.embeddings import MAX_EMBEDDING_BYTES, Embedding, EmbeddingForm, Rows
from boardd.partials.rank_sample import RankSample
from boardd.reduce import pca
from boardd.reduce.image.sprite import sprite
from boardd.summaries.embedding import (
    MIN_WORKING_BYTES,
    KeptRows,
    kept_rows,
    shown_embedding,
)
from boardd.summaries.reduction import ReductionInput, ReductionOutput, with_note

#: The name of the column of ranks, and of the one column of labels beside it without a name.
_RANK_COLUMN: Final = "rank"
_LABEL_COLUMN: Final = "label"


def share_embedding(source: ReductionInput, rank: int) -> Embedding:
    """What a rank contributes to an embedding. Raises as ``summarize_embedding``."""
    options = source.payload.embedding
    kept = kept_rows(source, lambda row_bytes: max(1, MAX_EMBEDDING_BYTES // max(1, row_bytes)))
    header = list(options.metadata_header)
    labels = [] if kept.labels is None else list(map(list, kept.labels))
    if labels:
        # What fails would fail for all ranks together.
        metadata_tsv(labels, header)
    if kept.images is not None:
        sprite(kept.images[:1])
    form = EmbeddingForm(
        columns=kept.matrix.shape[1],
        dtype=kept.matrix.dtype.name,
        header=tuple(header),
        label_columns=len(labels[0]) if labels else 0,
        image_dtype="" if kept.images is None else kept.images.dtype.name,
        image_shape=() if kept.images is None else kept.images.shape[1:],
        project_to=options.project_to,
        has_step=options.has_step,
    )
    rows = Rows(
        rank,
        kept.logged,
        kept.matrix.shape[0],
        kept.matrix.tobytes(),
        "".join("\t".join(fields) + "\n" for fields in labels).encode(),
        b"" if kept.images is None else kept.images.tobytes(),
        tuple(kept.notes),
    )
    return Embedding(form, RankSample((rows,)))


def present_embedding(tag: str, step: int, merged: Embedding) -> ReductionOutput:
    """The rows of all ranks, in their order. Raises as ``summarize_embedding``."""
    form = merged.form_of_rows
    parts = merged.sample.by_rank()
    matrix = _joined([part.matrix for part in parts], form.dtype, (form.columns,))
    images = None
    if form.image_dtype:
        images = _joined([part.images for part in parts], form.image_dtype, form.image_shape)
    labels = list(_labels(parts, form.label_columns))
    notes = [f"Rank {part.rank}: {note}" for part in parts for note in part.notes]
    kept = pca.sample_rows(len(matrix))
    if len(kept) < len(matrix):
        notes.append(
            f"{len(kept):,} of {len(matrix):,} rows are shown, a uniform sample: the projector "
            "loads no more. Labels and images are those of the same rows."
        )
        matrix = matrix[kept]
        images = None if images is None else images[kept]
        labels = [labels[row] for row in kept.tolist()]
    logged = sum(part.logged for part in parts)
    output = shown_embedding(
        tag,
        step if form.has_step else None,
        KeptRows(logged, matrix, labels, images, notes),
        _header(form),
        form.project_to,
        MIN_WORKING_BYTES,
    )
    if merged.sample.limit is None:
        return output
    ranks = ", ".join(str(part.rank) for part in parts)
    return with_note(
        output,
        tag,
        f"Ranks {ranks} are shown, a sample: the rows of all ranks exceed "
        f"{MAX_EMBEDDING_BYTES >> 20} MiB.",
    )


def _joined(parts: list[bytes], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(b"".join(parts), dtype).reshape(-1, *shape)


def _labels(parts: Any, columns: int) -> Iterator[list[str]]:
    for part in parts:
        rank = str(part.rank)
        if not columns:
            yield from ([rank] for _ in range(part.kept))
            continue
        for line in part.labels.decode().removesuffix("\n").split("\n"):
            yield [*line.split("\t"), rank]


def _header(form: EmbeddingForm) -> list[str]:
    if not form.label_columns:
        return []
    names = list(form.header) if len(form.header) == form.label_columns else [_LABEL_COLUMN]
    rank = _RANK_COLUMN
    while rank in names:
        rank = f"{rank} of the process"
    return [*names, rank]
