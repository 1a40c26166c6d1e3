"""Embeddings that are logged one after the other, and the files of each.

It imports little: tests start hundreds of processes that write them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from boardd.events.embedding import EmbeddingFiles, metadata_tsv


class Logged(NamedTuple):
    """One call: the folder, and what makes its files differ from others'."""

    folder: str
    rows: int
    columns: int
    seed: int
    has_labels: bool
    has_sprite: bool

    def files(self) -> EmbeddingFiles:
        if self.seed:
            matrix = np.random.default_rng(self.seed).normal(size=(self.rows, self.columns))
        else:
            matrix = np.zeros((self.rows, self.columns))  # which is written as text
        return EmbeddingFiles(
            self.folder,
            matrix.astype("<f4").tobytes(),
            (self.rows, self.columns),
            metadata=metadata_tsv([[f"{self.seed}:{row}"] for row in range(self.rows)])
            if self.has_labels
            else None,
            sprite=b"\x89PNG" + bytes([self.seed]) * 100 if self.has_sprite else None,
            sprite_dims=(4, 4) if self.has_sprite else None,
        )


#: The same folder again with other shapes and files, two folders in one, and another.
CALLS = [
    Logged("words/deep_000001", 5, 3, 1, has_labels=True, has_sprite=True),
    Logged("words/deep_000002", 4, 2, 2, has_labels=False, has_sprite=True),
    Logged("words/deep_000001", 7, 2, 3, has_labels=True, has_sprite=False),
    Logged("words/deep_000001", 2, 6, 0, has_labels=False, has_sprite=True),
    Logged("other", 3, 3, 4, has_labels=True, has_sprite=True),
]
