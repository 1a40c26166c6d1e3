"""Images, grids of them, boxes on them, and videos."""

from __future__ import annotations

from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from boardd_protos.limits import DEFAULT_NROW
from numpy.typing import NDArray

from boardd.events import values
from boardd.events.event_pb2 import Summary
from boardd.reduce.image.boxes import draw_boxes
from boardd.reduce.image.gif import encode_gif
from boardd.reduce.image.grid import as_batch, image_grid
from boardd.reduce.image.png import encode_png
from boardd.summaries.reduction import ReductionInput, ReductionOutput

_VIDEO_DIMENSIONS: Final = "NTCHW"


def summarize_image(source: ReductionInput) -> ReductionOutput:
    """An image, or a batch as a grid.

    Raises ``InvalidTensorError`` and ``InvalidRecordError``.
    """
    options = source.payload.image
    if len(source.arrays) != 1 + options.has_boxes:
        raise InvalidRecordError(
            f"{len(source.arrays)} tensors of an image; has_boxes says otherwise"
        )
    if options.has_boxes:
        count = len(as_batch(source.arrays[0], options.dataformats))
        if count != 1:
            raise InvalidTensorError(f"boxes on a batch of {count} images; give one image")
    pixels = _grid(source)
    if options.has_boxes:
        pixels = draw_boxes(pixels, source.arrays[1], list(options.box_labels) or None)
    return ReductionOutput([_image_value(source.tag, pixels)])


def summarize_video(source: ReductionInput) -> ReductionOutput:
    """A video as a GIF, which TensorBoard shows as an image. Raises ``InvalidTensorError``."""
    options = source.payload.video
    gif = encode_gif(
        source.arrays[0],
        options.frames_per_second,
        dataformats=options.dataformats or _VIDEO_DIMENSIONS,
    )
    return ReductionOutput(
        [values.image_value(source.tag, gif.data, gif.height, gif.width, gif.channels)]
    )


def _grid(source: ReductionInput) -> NDArray[np.uint8]:
    options = source.payload.image
    return image_grid(
        source.arrays[0],
        dataformats=options.dataformats,
        nrow=options.nrow or DEFAULT_NROW,
        padding=options.padding,
        normalize=options.normalize or "none",
        value_range=_value_range(options),
        pad_value=options.pad_value,
    )


def _value_range(options: pb.Image) -> tuple[float, float] | None:
    if not options.value_range:
        return None
    if len(options.value_range) != 2:
        raise InvalidRecordError(f"a value_range of {len(options.value_range)} values; give two")
    return options.value_range[0], options.value_range[1]


def _image_value(tag: str, pixels: NDArray[np.uint8]) -> Summary.Value:
    height, width, channels = pixels.shape
    return values.image_value(tag, encode_png(pixels), height, width, channels)
