"""Thumbnails of an embedding's points in one sheet, as the projector reads it.

The projector cuts the sheet into thumbnails of one size, row by row. Its hit
test takes the rows for the columns, so the grid has as many of both
(tensorboard/plugins/projector/vz_projector/scatterPlotVisualizerSprites.ts),
and it refuses a sheet above 8192 pixels a side (data-provider.ts). Images are
converted as MXBoard's and ``image_grid``'s are.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.reduce.image.grid import as_batch, eight_bits

#: The most pixels a side that the projector accepts.
MAX_SPRITE_SIDE: Final = 8192

#: Images scaled down at a time, as float32.
_BLOCK_BYTES: Final = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Sprite:
    """A sheet, uint8[per_row * height, per_row * width, channels].

    ``width`` and ``height`` are those of one thumbnail in pixels, which is
    ``single_image_dim`` of the projector's configuration in this order.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    per_row: int


def sprite(
    images: npt.NDArray[Any], *, dataformats: str = "NCHW", max_side: int = MAX_SPRITE_SIDE
) -> Sprite:
    """Returns the sheet of ``images``, in their order, row by row from the top left.

    Args:
        images: a batch of 1, 3 or 4 channels: uint8, or floats in [0, 1], NaN
            and values outside as in ``grid.image_grid``.
        dataformats: what the dimensions are, "N" among them.
        max_side: the most pixels a side of the sheet.

    Rows have ceil(sqrt(N)) thumbnails. If the sheet would be larger than
    ``max_side``, thumbnails are scaled down to the largest size that fits,
    keeping their proportions up to rounding: each pixel is the mean of the area
    that it covers, rounded. Places without an image are 0 in all channels.

    Raises ``InvalidTensorError`` for what is no batch of images, and more images than
    have room.
    """
    if "N" not in dataformats:
        raise InvalidTensorError(
            f"dataformats {dataformats!r}; a sprite is made of a batch, such as NCHW"
        )
    batch = as_batch(images, dataformats)
    if batch.dtype != np.uint8 and (batch.dtype.kind != "f" or batch.dtype.itemsize > 8):
        raise InvalidTensorError(
            f"images of {batch.dtype}; give uint8 in [0, 255] or floats in [0, 1]"
        )
    count, height, width, channels = batch.shape
    per_row = math.isqrt(count - 1) + 1
    room = max_side // per_row
    if room < 1:
        raise InvalidTensorError(f"{count} images; a sheet of {max_side} pixels a side has no room")
    source_height, source_width = height, width
    if max(height, width) > room:
        # Integers, so that the longer side becomes exactly the room there is.
        longer = max(height, width)
        height = max(1, height * room // longer)
        width = max(1, width * room // longer)
    vertical = _area_means(source_height, height)
    horizontal = _area_means(source_width, width)

    pixels = np.zeros((per_row, height, per_row, width, channels), np.uint8)
    for row in range(-(-count // per_row)):
        tiles = batch[row * per_row : (row + 1) * per_row]
        if (source_height, source_width) == (height, width):
            shown = tiles if tiles.dtype == np.uint8 else eight_bits(tiles)
        else:
            shown = _scaled_down(tiles, vertical, horizontal)
        pixels[row, :, : len(tiles)] = shown.transpose(1, 0, 2, 3)
    sheet = pixels.reshape(per_row * height, per_row * width, channels)
    return Sprite(sheet, width, height, per_row)


@dataclasses.dataclass(frozen=True, eq=False)
class _Means:
    """How each of the target pixels of a line is the mean of the source pixels it covers.

    ``sources`` is intp[target, taps] and ``weights`` float32 of the same
    shape, whose rows sum to 1.
    """

    sources: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float32]


def _area_means(source: int, target: int) -> _Means:
    edges = np.arange(target + 1) * (source / target)
    edges[-1] = source
    first = np.floor(edges[:-1]).astype(np.intp)
    taps = int(np.ceil(edges[1:] - first).max())
    sources = first[:, np.newaxis] + np.arange(taps)
    overlap = np.minimum(edges[1:, np.newaxis], sources + 1) - np.maximum(
        edges[:-1, np.newaxis], sources
    )
    weights = np.maximum(overlap, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    # Those past the end weigh nothing.
    return _Means(np.minimum(sources, source - 1), weights.astype(np.float32))


def _scaled_down(
    tiles: npt.NDArray[Any], vertical: _Means, horizontal: _Means
) -> npt.NDArray[np.uint8]:
    """Returns ``tiles`` [images, height, width, channels] as smaller ones."""
    count, channels = tiles.shape[0], tiles.shape[3]
    height, width = len(vertical.weights), len(horizontal.weights)
    small = np.empty((count, height, width, channels), np.uint8)
    step = max(1, _BLOCK_BYTES // (4 * tiles[0].size))
    for start in range(0, count, step):
        part = tiles[start : start + step]
        # Planes, transposed in turn, so that each pass takes whole rows.
        values = _levels(part.transpose(3, 0, 1, 2))
        values = _averaged(values, vertical).swapaxes(2, 3)
        values = _averaged(np.ascontiguousarray(values), horizontal).swapaxes(2, 3)
        values += 0.5
        # A mean of 255s may come out a little above.
        np.minimum(values, 255, out=values)
        small[start : start + step] = values.transpose(1, 2, 3, 0)
    return small


def _levels(planes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns 8-bit levels as float32, not rounded, C-contiguous."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values: npt.NDArray[np.float32] = np.array(planes, np.float32, order="C")
        if planes.dtype != np.uint8:
            # Before the means, else one NaN would spread.
            np.fmax(values, 0, out=values)
            np.fmin(values, 1, out=values)
            values *= 255
    return values


def _averaged(values: npt.NDArray[np.float32], means: _Means) -> npt.NDArray[np.float32]:
    """Returns [channels, images, target, width] of [channels, images, source, width]."""
    total = np.zeros((*values.shape[:2], len(means.weights), values.shape[3]), np.float32)
    for tap in range(means.weights.shape[1]):
        taken = np.take(values, means.sources[:, tap], axis=2)
        taken *= means.weights[:, tap, np.newaxis]
        total += taken
    return total
