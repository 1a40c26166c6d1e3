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
from boardd.partials.images import MAX_IMAGE_BYTES, Images
from boardd.reduce.image.boxes import draw_boxes
from boardd.reduce.image.gif import encode_gif
from boardd.reduce.image.grid import as_batch, image_grid
from boardd.reduce.image.png import encode_png
from boardd.summaries.reduction import ReductionInput, ReductionOutput, with_note

_VIDEO_DIMENSIONS: Final = "NTCHW"


def summarize_image(source: ReductionInput) -> ReductionOutput:
    """An image, or a batch as a grid.

    Raises ``InvalidTensorError`` and ``InvalidRecordError``.
    """
    return ReductionOutput([_image_value(source.tag, _pixels(source))])


def share_image(source: ReductionInput, rank: int) -> Images:
    """What a rank shows of an image. Raises as ``summarize_image``."""
    return Images.of(rank, _pixels(source), source.payload.image.pad_value)


def present_images(tag: str, step: int, merged: Images) -> ReductionOutput:
    """The images of several ranks as one grid, in the order of their ranks.

    Raises ``InvalidTensorError`` if the grid is too large.
    """
    tiles = merged.sample.by_rank()
    pixels = image_grid(
        np.stack([tile.pixels for tile in tiles]),
        dataformats="NHWC",
        pad_value=tiles[0].pad_value,
    )
    output = ReductionOutput([_image_value(tag, pixels)])
    if merged.sample.limit is None:
        return output
    ranks = ", ".join(str(tile.rank) for tile in tiles)
    return with_note(
        output,
        tag,
        f"Ranks {ranks} are shown, a sample: the images of all ranks exceed "
        f"{MAX_IMAGE_BYTES >> 20} MiB.",
    )


def _pixels(source: ReductionInput) -> NDArray[np.uint8]:
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
        labels = list(options.box_labels) or None
        rescale = options.rescale or 1
        pixels = draw_boxes(pixels, source.arrays[1], labels, rescale=rescale)
    return pixels


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
