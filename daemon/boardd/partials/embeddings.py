"""Embeddings of several ranks, one below the other."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from boardd.partials.rank_sample import RankSample

#: Bytes of all ranks together; of more, a sample of ranks is kept.
MAX_EMBEDDING_BYTES: Final = 32 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddingForm:
    """What the rows of an embedding have in common.

    ``dtype`` and ``columns`` are those of the matrix; ``header`` names the ``label_columns``,
    of which there may be none; ``image_dtype`` is empty without images, and ``image_shape``
    channels, height, width. ``project_to`` and ``has_step`` are those of the payload.
    """

    columns: int
    dtype: str
    header: tuple[str, ...]
    label_columns: int
    image_dtype: str
    image_shape: tuple[int, ...]
    project_to: int
    has_step: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """What one rank shows: ``kept`` of the ``logged`` rows of its embedding.

    ``matrix`` and ``images`` are the bytes of arrays in C order, and ``labels`` UTF-8, a line
    for each row, its columns parted by tabs; ``EmbeddingForm`` says the rest. ``notes`` are
    sentences about what was left out.
    """

    rank: int
    logged: int
    kept: int
    matrix: bytes
    labels: bytes
    images: bytes
    notes: tuple[str, ...]

    @property
    def order(self) -> Any:
        """Orders different rows of one rank."""
        return self.logged, self.kept, self.matrix, self.labels, self.images, self.notes

    @property
    def size_bytes(self) -> int:
        """The bytes of its content."""
        return len(self.matrix) + len(self.labels) + len(self.images)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The rows of some ranks, all of one form."""

    form_of_rows: EmbeddingForm
    sample: RankSample[Rows]

    @property
    def form(self) -> tuple[Any, ...]:
        """What all fields of ``form_of_rows`` say."""
        return dataclasses.astuple(self.form_of_rows)

    def merge(self, *others: Embedding) -> Embedding:
        """Returns the rows of all."""
        sample = self.sample
        for other in others:
            sample = sample.merge(other.sample, MAX_EMBEDDING_BYTES)
        return Embedding(self.form_of_rows, sample)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.sample.size_bytes
