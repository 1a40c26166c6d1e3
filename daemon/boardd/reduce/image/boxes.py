"""Bounding boxes with labels on an image, drawn as tensorboardX draws them.

A red outline, and at its lower left corner the label in black on red, in
Pillow's default font (``draw_boxes`` and ``_draw_single_box`` of
tensorboardX/summary.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import IMAGE_CHANNELS, MAX_PIXELS
from PIL import Image, ImageColor, ImageDraw, ImageFont

#: The characters of a label that are shown, more than fit a screen.
MAX_LABEL_CHARACTERS: Final = 1000

#: Coordinates further out than this are as good as there, and safe to draw.
_FAR: Final = float(1 << 20)


def draw_boxes(
    pixels: npt.NDArray[np.uint8],
    boxes: npt.NDArray[Any],
    labels: Sequence[str] | None = None,
    *,
    thickness: int = 2,
    colour: str = "red",
    label_colour: str = "black",
    rescale: float = 1,
) -> npt.NDArray[np.uint8]:
    """Returns a copy of an image with boxes on it, uint8[height, width, 3 or 4].

    Args:
        pixels: uint8[height, width, channels], of 1 (grey, returned as RGB),
            3 or 4 channels; other images by way of ``grid.image_grid``.
        boxes: [N, 4], finite numbers: xmin, ymin, xmax, ymax in pixels, from
            the top left corner. Corners may be given in any order. What lies
            outside of the image is cut off.
        labels: N texts, or None. An empty one is not drawn; line breaks are
            spaces, and only the first ``MAX_LABEL_CHARACTERS`` are shown.
        thickness: of the outline in pixels, at least 1.
        colour: of outline and label box, a name or "#rrggbb".
        label_colour: of the text.
        rescale: by how much the image is resized after drawing (Lanczos),
            above 0; each side has at least one pixel.

    Raises ``InvalidTensorError`` for pixels that are no image, and for every other argument
    that is not as described.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in IMAGE_CHANNELS:
        raise InvalidTensorError(
            f"pixels of {pixels.dtype} and shape {pixels.shape}; give uint8 and "
            "[height, width, channels] with 1, 3 or 4 channels"
        )
    if pixels.size == 0:
        raise InvalidTensorError(f"an image of shape {pixels.shape} has no pixels")
    corners = _corners(boxes)
    if labels is not None and len(labels) != len(corners):
        raise InvalidTensorError(
            f"{len(labels)} labels for {len(corners)} boxes; give one for each"
        )
    if thickness < 1:
        raise InvalidTensorError(f"a thickness of {thickness}; give at least 1 pixel")
    for name in (colour, label_colour):
        try:
            ImageColor.getrgb(name)
        except ValueError:
            raise InvalidTensorError(f'colour {name!r}; give a name or "#rrggbb"') from None
    height, width = pixels.shape[:2]
    size = _rescaled(height, width, rescale)

    image = Image.fromarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default() if labels else None
    for number, (left, top, right, bottom) in enumerate(corners.tolist()):
        outline = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
        draw.line(outline, width=thickness, fill=colour)
        text = " ".join(labels[number][:MAX_LABEL_CHARACTERS].splitlines()) if labels else ""
        if font is None or not text:
            continue
        start, ascent, end, descent = font.getbbox(text)
        text_width, text_height = end - start, descent - ascent
        margin = math.ceil(0.05 * text_height)
        draw.rectangle(
            [(left, bottom - text_height - 2 * margin), (left + text_width, bottom)], fill=colour
        )
        draw.text(
            (left + margin, bottom - text_height - margin), text, fill=label_colour, font=font
        )
    if size != (width, height):
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.array(image)


def _corners(boxes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns float64[N, 4]: left, top, right, bottom."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InvalidTensorError(
            f"boxes of shape {boxes.shape}; give [N, 4]: xmin, ymin, xmax, ymax"
        )
    if boxes.dtype.kind not in "iuf" or boxes.dtype.itemsize > 8:
        raise InvalidTensorError(f"boxes of {boxes.dtype}; give integers or floats up to 64 bits")
    with np.errstate(invalid="ignore"):
        corners = boxes.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(corners).all(axis=1))
    if bad.size:
        raise InvalidTensorError(
            f"{bad.size} of {len(boxes)} boxes hold NaN or infinity, the first is box {bad[0]}"
        )
    corners.reshape(-1, 2, 2).sort(axis=1)
    np.clip(corners, -_FAR, _FAR, out=corners)
    return corners


def _rescaled(height: int, width: int, rescale: float) -> tuple[int, int]:
    """Returns width and height after resizing."""
    if not (math.isfinite(rescale) and rescale > 0):
        raise InvalidTensorError(f"rescale {rescale}; give a finite number above 0")
    size = max(1, int(width * rescale)), max(1, int(height * rescale))
    if size[0] * size[1] > MAX_PIXELS:
        raise InvalidTensorError(f"rescale {rescale} makes {size[1]} x {size[0]} pixels; use less")
    return size
