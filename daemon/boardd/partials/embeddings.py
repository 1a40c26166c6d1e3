"""Embeddings of several ranks, one below the other."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from boardd.partials.rank_sample import RankSample

#: Bytes of all ranks together; of more, a sample of ranks is kept.
MAX_EMBEDDING_BYTES: Final = 32 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """What one rank shows: ``kept`` of the ``logged`` rows of its embedding.

    ``matrix``, ``labels`` and ``images`` are bytes, of a form that the options say;
    ``notes`` are sentences about what was left out.
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
    """The rows of some ranks; ``options``, opaque here, say how they are shown."""

    options: bytes
    sample: RankSample[Rows]

    @property
    def form(self) -> tuple[Any, ...]:
        """The options."""
        return (self.options,)

    def merge(self, other: Embedding) -> Embedding:
        """Returns the rows of both."""
        return Embedding(self.options, self.sample.merge(other.sample, MAX_EMBEDDING_BYTES))

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.sample.size_bytes
