"""Scalars by the column: what is grouped, counted and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What a scalar is charged for in the intake: its frame, whose columns are looked at where they
#: lie, and the three columns of its series.
SCALAR_BYTES = 72


@dataclass(slots=True)
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

    @classmethod
    def of(cls, headers: NDArray[Any]) -> Columns:
        """The scalars of frames, an array of ``FRAME_DTYPE``."""
        return cls(headers["sequence"], headers["step"], headers["wall_time"], headers["value"])
