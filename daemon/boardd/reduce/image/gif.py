"""Videos to animated GIF, the clips of a batch side by side.

The tiling is tensorboardX's ``_prepare_video``: N clips, and black ones up to
the next power of two, in 2**(floor(log2(N)) // 2) rows, filled from the left
and the top, without padding.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import IMAGE_CHANNELS, MAX_GIF_SIDE, MAX_PIXELS, MAX_VIDEO_FRAMES
from PIL import Image

from boardd.reduce.image.grid import eight_bits

#: The shortest time of a frame, in hundredths of a second, that browsers keep to.
MIN_DELAY: Final = 2

#: The longest time of a frame in hundredths of a second, the format's 16 bits.
MAX_DELAY: Final = 65_535

_DIMENSIONS: Final = "NTCHW"


@dataclasses.dataclass(frozen=True)
class Gif:
    """A GIF file ``data`` of frames of ``width`` and ``height`` pixels.

    ``channels`` is 1 if the frames are grey, else 3.
    """

    data: bytes
    width: int
    height: int
    channels: int


def encode_gif(video: npt.NDArray[Any], fps: float = 4, *, dataformats: str = "NTCHW") -> Gif:
    """Returns ``video`` as a GIF file that repeats for ever.

    Args:
        video: N clips of T frames of 1 (grey), 3 (RGB) or 4 (RGBA, shown on
            white) channels: uint8, or floats in [0, 1], NaN and values outside
            as in ``grid.image_grid``.
        fps: frames a second, finite, above 0. GIF counts hundredths of a
            second: frames take turns in length so that the whole keeps its
            time. Above 50 it plays at 50, as fast as browsers do; a frame lasts
            at most 655.35 seconds.
        dataformats: what the dimensions are, the letters N, T, C, H and W in
            any order.

    Grey and up to 256 colours in a frame are kept exactly, more are quantized
    frame by frame. Like frames in a row are stored as one longer frame.

    Raises ``InvalidTensorError`` for another dtype, shape or rate, frames larger than a
    GIF's, and more than ``MAX_VIDEO_FRAMES``.
    """
    clips = _clips(video, dataformats)
    if not (math.isfinite(fps) and fps > 0):
        raise InvalidTensorError(f"{fps} frames a second; give a finite number above 0")
    count, length, height, width, channels = clips.shape
    rows = 1 << ((count.bit_length() - 1) // 2)
    columns = (1 << (count - 1).bit_length()) // rows
    height, width = rows * height, columns * width
    if max(height, width) > MAX_GIF_SIDE or height * width > MAX_PIXELS:
        raise InvalidTensorError(
            f"frames of {height} x {width} pixels; "
            f"at most {MAX_GIF_SIDE} a side and {MAX_PIXELS} in all"
        )
    if length > MAX_VIDEO_FRAMES:
        raise InvalidTensorError(f"{length} frames; at most {MAX_VIDEO_FRAMES} in a video")
    frames = _frames(clips, rows, columns)
    file = io.BytesIO()
    next(frames).save(
        file,
        "GIF",
        save_all=True,
        append_images=frames,
        duration=[10 * delay for delay in _delays(length, fps)],
        loop=0,
        optimize=False,
    )
    return Gif(file.getvalue(), width, height, 1 if channels == 1 else 3)


def _clips(video: npt.NDArray[Any], dataformats: str) -> npt.NDArray[Any]:
    """Returns ``video`` as a view [clips, frames, height, width, channels]."""
    if sorted(dataformats) != sorted(_DIMENSIONS):
        raise InvalidTensorError(
            f"dataformats {dataformats!r}; use each of the letters {_DIMENSIONS} once"
        )
    if video.dtype != np.uint8 and (video.dtype.kind != "f" or video.dtype.itemsize > 8):
        raise InvalidTensorError(
            f"a video of {video.dtype}; give uint8 in [0, 255] or floats in [0, 1]"
        )
    if video.ndim != len(dataformats) or video.size == 0:
        raise InvalidTensorError(
            f"a video of shape {video.shape}; give {dataformats}, with pixels in it"
        )
    clips = video.transpose([dataformats.index(letter) for letter in "NTHWC"])
    if clips.shape[4] not in IMAGE_CHANNELS:
        raise InvalidTensorError(
            f"a video of shape {video.shape} as {dataformats!r} has {clips.shape[4]} channels; "
            "frames have 1, 3 or 4"
        )
    return clips


def _delays(length: int, fps: float) -> list[int]:
    """Returns how long each frame is shown, in hundredths of a second."""
    fps = min(max(fps, 100 / MAX_DELAY), 100 / MIN_DELAY)
    times = [round(frame * 100 / fps) for frame in range(length + 1)]
    return [end - start for start, end in itertools.pairwise(times)]


def _frames(clips: npt.NDArray[Any], rows: int, columns: int) -> Iterator[Image.Image]:
    """Yields the tiled frames, each with a palette of its own."""
    count, length, height, width, channels = clips.shape
    for frame in range(length):
        tiles = np.zeros((rows, height, columns, width, channels), np.uint8)
        if channels == 4:
            tiles[..., 3] = 255
        for clip in range(count):
            shown = clips[clip, frame]
            row, column = divmod(clip, columns)
            tiles[row, :, column] = shown if shown.dtype == np.uint8 else eight_bits(shown)
        pixels = tiles.reshape(rows * height, columns * width, channels)
        if channels == 1:
            yield Image.fromarray(pixels[..., 0])
        else:
            yield Image.fromarray(_on_white(pixels)).quantize(256, Image.Quantize.MEDIANCUT)


def _on_white(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns RGB, of RGBA as it looks on white paper."""
    if pixels.shape[2] == 3:
        return pixels
    colour = pixels[..., :3].astype(np.uint16)
    alpha = pixels[..., 3:].astype(np.uint16)
    # (x + 127) // 255 is the nearest integer to x / 255.
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
