"""Images of several ranks, as the tiles of one grid."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.partials.rank_sample import RankSample

#: Pixels of all ranks together; of more, a sample of ranks is kept.
MAX_IMAGE_BYTES: Final = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What one rank shows: ``pixels`` is uint8[height, width, channels].

    ``pad_value`` is what is drawn between tiles, 0 to 255.
    """

    rank: int
    pixels: npt.NDArray[np.uint8]
    pad_value: int

    @property
    def order(self) -> Any:
        """Orders different tiles of one rank."""
        return self.pad_value, self.pixels.tobytes()

    @property
    def size_bytes(self) -> int:
        """The bytes of its pixels."""
        return self.pixels.nbytes


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The tiles of some ranks, all of ``shape``: height, width, channels."""

    shape: tuple[int, int, int]
    sample: RankSample[Tile]

    @classmethod
    def of(cls, rank: int, pixels: npt.NDArray[np.uint8], pad_value: int) -> Images:
        """Returns what one rank shows; see ``Tile``."""
        height, width, channels = pixels.shape
        tile = Tile(rank, pixels, pad_value)
        return cls((height, width, channels), RankSample((tile,)))

    @property
    def form(self) -> tuple[Any, ...]:
        """The shape of a tile."""
        return self.shape

    def merge(self, *others: Images) -> Images:
        """Returns the tiles of all."""
        sample = self.sample
        for other in others:
            sample = sample.merge(other.sample, MAX_IMAGE_BYTES)
        return Images(self.shape, sample)

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.sample.size_bytes
