"""Frames as they are taken apart: scalars in a row, or one of another kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from boardd_protos.frame import Frame
from numpy.typing import NDArray

#: Headers of frames: an array of ``FRAME_DTYPE``.
Headers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ScalarFrames:
    """Frames of scalars that follow each other, at least one; their headers are all of them.

    Their sequence numbers rise, by one each unless records between them are done.
    """

    headers: Headers

    def __len__(self) -> int:
        return len(self.headers)

    def __getitem__(self, chosen: slice) -> ScalarFrames:
        """Some of the frames."""
        return ScalarFrames(self.headers[chosen])

    def count_until(self, sequence: int) -> int:
        """How many have sequence numbers up to ``sequence``."""
        return int(np.searchsorted(self.headers["sequence"], np.uint64(sequence), side="right"))

    @property
    def first_sequence(self) -> int:
        """The sequence number of its first frame."""
        return int(self.headers["sequence"][0])

    @property
    def last_sequence(self) -> int:
        """The sequence number of its last frame."""
        return int(self.headers["sequence"][-1])


#: What a walk over frames yields, so that what follows needs no Python for each scalar.
WalkedFrames = ScalarFrames | Frame
