"""Images and batches of images to 8-bit pixels, a batch tiled into a grid.

The tiling is MXBoard's and torchvision's ``make_grid``: rows of ``nrow``
images, filled from the left and the top, ``padding`` pixels around and between
them. A single image is left as it is, without padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import DEFAULT_NROW, IMAGE_CHANNELS, MAX_PIXELS, NORMALIZATIONS


def image_grid(
    image: npt.NDArray[Any],
    *,
    dataformats: str,
    nrow: int = DEFAULT_NROW,
    padding: int = 2,
    normalize: str = "none",
    value_range: tuple[float, float] | None = None,
    pad_value: int = 0,
) -> npt.NDArray[np.uint8]:
    """Returns the pixels that show ``image``, uint8[height, width, channels].

    Args:
        image: uint8, shown as it is, or float16, float32 or float64 (bfloat16
            comes as float32) with values in [0, 1], which are multiplied by
            255 in their own type (float16 in float32) and truncated, as MXBoard
            does. Values below 0 and NaN are black, those above 1 are 255.
        dataformats: what the dimensions are, in order: "H" and "W", and "C"
            and "N" if there are such. Channels are 1 (grey), 3 (RGB) or 4
            (RGBA); no "C" is one channel. MXBoard triples a grey channel, which
            shows the same pixels.
        nrow: images in a row of the grid, at least 1; fewer if there are fewer.
        padding: pixels around each image of a grid, at least 0.
        normalize: "none", or one of ``NORMALIZATIONS``: "batch" stretches the
            finite values from their smallest to their largest over [0, 1] first,
            "image" does so for each image by itself; equal values become 0.
            Integers may be normalised too.
        value_range: with ``normalize``, these two values become 0 and 1
            instead of the smallest and the largest.
        pad_value: the pixel value of the padding and of missing images, 0 to 255.

    Raises ``InvalidTensorError`` for an array, dataformats or sizes that do not agree,
    another dtype, an image without pixels, or a grid above ``MAX_PIXELS``.
    """
    batch = as_batch(image, dataformats)
    if nrow < 1 or padding < 0 or not 0 <= pad_value <= 255:
        raise InvalidTensorError(
            f"nrow {nrow}, padding {padding}, pad_value {pad_value}; "
            "nrow is at least 1, padding at least 0, pad_value 0 to 255"
        )
    if normalize not in ("none", *NORMALIZATIONS):
        choices = ", ".join(NORMALIZATIONS)
        raise InvalidTensorError(f"normalize {normalize!r}; use none, or one of {choices}")
    if value_range is not None:
        if normalize == "none":
            raise InvalidTensorError(
                f"value_range {value_range} without normalize; set 'batch' or 'image'"
            )
        if not (np.isfinite(value_range).all() and value_range[0] < value_range[1]):
            raise InvalidTensorError(
                f"value_range {value_range}; give two finite values, the lower first"
            )
    if normalize == "none" and batch.dtype != np.uint8 and batch.dtype.kind != "f":
        raise InvalidTensorError(
            f"an image of {batch.dtype}; give uint8 in [0, 255] or floats in [0, 1], or normalize"
        )
    if batch.dtype.kind not in "biuf" or batch.dtype.itemsize > 8:
        raise InvalidTensorError(
            f"an image of {batch.dtype}; give an integer or a float up to 64 bits"
        )

    images, height, width, channels = batch.shape
    columns = min(nrow, images)
    rows = -(-images // columns)
    if images == 1:
        padding = 0
    grid_height = rows * (height + padding) + padding
    grid_width = columns * (width + padding) + padding
    if grid_height * grid_width > MAX_PIXELS:
        raise InvalidTensorError(
            f"a grid of {grid_height} x {grid_width} pixels; at most {MAX_PIXELS} in all"
        )

    bounds = value_range
    if normalize == "batch" and bounds is None:
        bounds = _bounds(batch)
    grid = np.full((grid_height, grid_width, channels), pad_value, np.uint8)
    for index in range(images):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        tile = batch[index]
        if normalize == "image" and value_range is None:
            bounds = _bounds(tile)
        _draw(tile, bounds, grid[top : top + height, left : left + width])
    return grid


def as_batch(image: npt.NDArray[Any], dataformats: str) -> npt.NDArray[Any]:
    """Returns ``image`` as a view [images, height, width, channels].

    Raises ``InvalidTensorError`` if ``dataformats`` is not what the image is.
    """
    letters = set(dataformats)
    if not {"H", "W"} <= letters <= set("NCHW") or len(letters) != len(dataformats):
        raise InvalidTensorError(
            f"dataformats {dataformats!r}; use the letters H and W, and C and N if the image "
            "has channels or is a batch, each once, such as 'NCHW'"
        )
    if image.ndim != len(dataformats):
        raise InvalidTensorError(
            f"an image of shape {image.shape} is not {dataformats!r}, "
            f"which has {len(dataformats)} dimensions"
        )
    if image.size == 0:
        raise InvalidTensorError(f"an image of shape {image.shape} has no pixels")
    batch = image.transpose([dataformats.index(axis) for axis in "NHWC" if axis in letters])
    if "N" not in letters:
        batch = batch[np.newaxis]
    if "C" not in letters:
        batch = batch[..., np.newaxis]
    if batch.shape[3] not in IMAGE_CHANNELS:
        raise InvalidTensorError(
            f"an image of shape {image.shape} as {dataformats!r} has {batch.shape[3]} channels; "
            "images have 1, 3 or 4"
        )
    return batch


def _bounds(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Returns the smallest and the largest finite value, 0 and 0 if there is none."""
    with np.errstate(invalid="ignore"):
        lowest, highest = float(values.min()), float(values.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            finite = values[np.isfinite(values)]
            if not finite.size:
                return 0.0, 0.0
            lowest, highest = float(finite.min()), float(finite.max())
    return lowest, highest


def _draw(
    tile: npt.NDArray[Any],
    bounds: tuple[float, float] | None,
    pixels: npt.NDArray[np.uint8],
) -> None:
    """Writes one image [height, width, channels] to ``pixels``, a view of that shape."""
    # Planes that lie apart are copied one by one, each while it is in cache.
    apart = tile.strides[2] != tile.itemsize
    parts = [slice(channel, channel + 1) for channel in range(tile.shape[2])]
    for part in parts if apart else [slice(None)]:
        plane = tile[:, :, part]
        if bounds is not None or tile.dtype != np.uint8:
            plane = eight_bits(plane, bounds)
        pixels[:, :, part] = plane


def eight_bits(
    plane: npt.NDArray[Any], bounds: tuple[float, float] | None = None
) -> npt.NDArray[np.uint8]:
    """Returns ``plane`` times 255 as uint8, truncated, with ``bounds`` mapped to 0 and 1."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scaled = plane.astype(np.result_type(plane.dtype, np.float32))
        if bounds is not None:
            _stretch(scaled, bounds)
        scaled *= 255
        # fmax and fmin take the number when the other is NaN.
        np.fmax(scaled, 0, out=scaled)
        np.fmin(scaled, 255, out=scaled)
        return scaled.astype(np.uint8)


def _stretch(plane: npt.NDArray[Any], bounds: tuple[float, float]) -> None:
    """Maps ``bounds`` to 0 and 1 in place."""
    lowest, highest = bounds
    # A quarter keeps the distance of any two finite values finite.
    distance = highest / 4 - lowest / 4
    plane /= 4
    plane -= lowest / 4
    if distance > 0:
        plane /= distance
    else:
        plane *= 0
