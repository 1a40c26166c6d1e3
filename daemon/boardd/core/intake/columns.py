"""ScalarPart by the column: from frames to what is grouped, counted and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from boardd_protos.frame import HEADER_BYTES
from numpy.typing import NDArray

from boardd.core.intake.frames import ScalarFrames

#: What a scalar is charged for in the intake: its columns and its tag, 40 bytes, or its frame.
SCALAR_BYTES = HEADER_BYTES


@dataclass(frozen=True)
class Columns:
    """n scalars in call order; each column has shape ``[n]``."""

    sequence: NDArray[np.uint64]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Columns:
        """Some of the scalars."""
        return Columns(
            self.sequence[chosen], self.step[chosen], self.wall_time[chosen], self.value[chosen]
        )


def expand(stretch: ScalarFrames, records_each: NDArray[np.int64]) -> Columns:
    """The scalars of all frames of ``stretch``, ``records_each[i]`` of frame i."""
    headers = stretch.headers
    if stretch.first_word is None:
        return Columns(headers["sequence"], headers["step"], headers["wall_time"], headers["value"])
    words = np.frombuffer(stretch.frames, "<f8", len(stretch.frames) // 8)
    return Columns(
        _repeated(headers["sequence"], records_each),
        _repeated(headers["step"], records_each),
        _repeated(headers["wall_time"], records_each),
        words[ranges(stretch.first_word, records_each)],
    )


def ranges(first: NDArray[np.intp], lengths: NDArray[np.int64]) -> NDArray[np.intp]:
    """``first[i]``, ``first[i] + 1``, ... ``lengths[i]`` numbers for each i, in one array."""
    same = _same(lengths)
    if same:
        return (first[:, np.newaxis] + np.arange(same)).reshape(-1)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    begins: NDArray[np.intp] = first - (ends - lengths)
    return begins.repeat(lengths) + np.arange(total, dtype=np.intp)


def _repeated(column: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[Any]:
    """``column[i]`` for ``counts[i]`` times, for each i."""
    same = _same(counts)
    if not same:
        return np.repeat(column, counts)
    return np.broadcast_to(column[:, np.newaxis], (len(column), same)).reshape(-1)


def _same(counts: NDArray[np.int64]) -> int:
    """What all ``counts`` are; 0 where they differ. NumPy is several times as fast with it."""
    return int(counts[0]) if len(counts) and (counts == counts[0]).all() else 0
