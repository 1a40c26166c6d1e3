"""What users of a peer do to a value before they log it."""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS = 8


def to_numpy(value: Any) -> Any:
    """An NDArray's values, waited for; anything else as it is."""
    return value.asnumpy() if hasattr(value, "asnumpy") else value


def grid(images: Any) -> np.ndarray:
    """A batch NCHW of floats in [0, 1] as one picture, uint8 HWC, ``COLUMNS`` abreast."""
    batch, channels, height, width = images.shape
    pixels = (images * 255).astype(np.uint8)
    tiles = pixels.reshape(batch // COLUMNS, COLUMNS, channels, height, width)
    return np.ascontiguousarray(
        tiles.transpose(0, 3, 1, 4, 2).reshape(batch // COLUMNS * height, COLUMNS * width, channels)
    )
