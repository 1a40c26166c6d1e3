"""Checks of tensors' dtypes and shapes, made at the call and without waiting for their data.

Every function raises ``TypeError`` for a dtype and ``ValueError`` for a shape
that is not as described, and says both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from boardd_protos.dtypes import FLOATS
from boardd_protos.limits import (
    DEFAULT_NROW,
    IMAGE_CHANNELS,
    MAX_GIF_SIDE,
    MAX_PIXELS,
    MAX_VIDEO_FRAMES,
    max_sample_rate,
)

from boardd_client.calls import arguments
from boardd_client.capture import Tensor

_PIXELS: Final = ("uint8", *FLOATS)
_DATAFORMATS: Final = {2: "HW", 3: "CHW", 4: "NCHW"}


def image(
    tensor: Tensor,
    dataformats: object,
    *,
    nrow: int = DEFAULT_NROW,
    padding: int = 0,
    any_dtype: bool = False,
) -> str:
    """Checks an image or a batch of them; returns its ``dataformats``, capitals.

    ``nrow`` and ``padding`` are those of the grid that a batch becomes.
    """
    what = _described(tensor, "image")
    if tensor.dtype not in _PIXELS and not any_dtype:
        raise TypeError(f"{what}: expected uint8, or floats in [0, 1]")
    shape = tensor.shape
    if dataformats is None:
        formats = _DATAFORMATS.get(len(shape), "")
        if not formats:
            raise ValueError(f"{what}: expected (H, W), (C, H, W) or (N, C, H, W)")
    else:
        formats = _formats(dataformats, "HW", "NCHW")
    size = _sizes(what, shape, formats)
    _check_channels(what, size.get("C", 1), formats, shape)
    images = size.get("N", 1)
    columns = min(nrow, images)
    gap = padding if images > 1 else 0
    height = -(-images // columns) * (size["H"] + gap) + gap
    width = columns * (size["W"] + gap) + gap
    if height * width > MAX_PIXELS:
        raise ValueError(f"{what}: {height} x {width} pixels, more than {MAX_PIXELS}")
    return formats


def boxes(tensor: Tensor) -> int:
    """Checks boxes, [n, 4] integers or floats; returns n."""
    what = _described(tensor, "boxes")
    if tensor.dtype == "bool":
        raise TypeError(f"{what}: expected integers or floats")
    if len(tensor.shape) != 2 or tensor.shape[1] != 4:
        raise ValueError(f"{what}: expected (n, 4), xmin, ymin, xmax and ymax of each box")
    return tensor.shape[0]


def rescaled(tensor: Tensor, formats: str, factor: float) -> None:
    """Checks by how much one image of ``formats`` is made larger or smaller."""
    size = dict(zip(formats, tensor.shape, strict=True))
    pixels = [max(1.0, size[side] * factor) for side in "HW"]
    if factor <= 0 or math.prod(pixels) > MAX_PIXELS:
        raise ValueError(
            f"rescale is {factor}, expected more than 0 and at most {MAX_PIXELS} pixels"
        )


def video(tensor: Tensor, dataformats: object) -> str:
    """Checks a batch of clips; returns its ``dataformats``, capitals."""
    what = _described(tensor, "video")
    if tensor.dtype not in _PIXELS:
        raise TypeError(f"{what}: expected uint8, or floats in [0, 1]")
    formats = _formats(dataformats, "NTCHW", "NTCHW")
    size = _sizes(what, tensor.shape, formats)
    _check_channels(what, size["C"], formats, tensor.shape)
    # Clips lie side by side, in a grid of powers of two.
    rows = 1 << ((size["N"].bit_length() - 1) // 2)
    columns = (1 << (size["N"] - 1).bit_length()) // rows
    height, width = rows * size["H"], columns * size["W"]
    if size["T"] > MAX_VIDEO_FRAMES:
        raise ValueError(f"{what}: {size['T']} frames, expected at most {MAX_VIDEO_FRAMES}")
    if max(height, width) > MAX_GIF_SIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"{what}: frames of {height} x {width} pixels, expected at most {MAX_GIF_SIDE} a side "
            f"and {MAX_PIXELS} in all"
        )
    return formats


def audio(tensor: Tensor, sample_rate: int) -> None:
    """Checks samples of one or two channels, and the rate that a file of them can have."""
    what = _described(tensor, "audio")
    if tensor.dtype not in (*FLOATS, "int16"):
        raise TypeError(f"{what}: expected floats in [-1, 1], or int16")
    sizes = [size for size in tensor.shape if size != 1]
    if 0 in sizes or len(sizes) > 2 or (len(sizes) == 2 and 2 not in sizes):
        raise ValueError(f"{what}: expected (n,), (n, 2) or (2, n)")
    limit = max_sample_rate(channels=2 if len(sizes) == 2 else 1)
    if sample_rate > limit:
        raise ValueError(f"sample_rate is {sample_rate}, expected 1 to {limit}")


def embedding(tensor: Tensor) -> int:
    """Checks a matrix; returns how many rows it has."""
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise ValueError(
            f"{_described(tensor, 'embedding')}: expected (rows, columns), at least one of each"
        )
    return tensor.shape[0]


def embedding_images(tensor: Tensor, rows: int) -> None:
    """Checks the images of an embedding's rows."""
    what = _described(tensor, "images")
    if tensor.dtype not in _PIXELS:
        raise TypeError(f"{what}: expected uint8, or floats in [0, 1]")
    if len(tensor.shape) != 4 or 0 in tensor.shape:
        raise ValueError(f"{what}: expected (N, C, H, W)")
    _check_channels(what, tensor.shape[1], "NCHW")
    if tensor.shape[0] != rows:
        raise ValueError(f"{what}: {tensor.shape[0]} images for {rows} rows of the embedding")


def pr_curve(labels: Tensor, predictions: Tensor, weights: Tensor | None = None) -> None:
    """Checks what a precision-recall curve is counted from."""
    if labels.shape != predictions.shape:
        raise ValueError(
            f"{_described(predictions, 'predictions')}: expected {_text(labels.shape)}, the shape "
            "of labels"
        )
    if weights is None:
        return
    try:
        fits = np.broadcast_shapes(weights.shape, labels.shape) == labels.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{_described(weights, 'weights')}: it does not broadcast to {_text(labels.shape)}, "
            "the shape of labels"
        )


def vectors(tensors: Mapping[str, Tensor]) -> int:
    """Checks vectors of one length of 1 or more; returns it."""
    first_name, first = next(iter(tensors.items()))
    for name, tensor in tensors.items():
        if len(tensor.shape) != 1 or not tensor.shape[0]:
            raise ValueError(f"{_described(tensor, name)}: expected (n,), at least one element")
        if tensor.shape != first.shape:
            raise ValueError(
                f"{_described(tensor, name)}: expected {_text(first.shape)}, the shape of "
                f"{first_name}"
            )
    return first.shape[0]


def mesh(tensors: Mapping[str, Tensor]) -> None:
    """Checks ``vertices``, and ``colors`` and ``faces`` if given."""
    for name, tensor in tensors.items():
        if len(tensor.shape) != 3 or tensor.shape[2] != 3:
            raise ValueError(f"{_described(tensor, name)}: expected (batch, n, 3)")
    vertices = tensors["vertices"].shape
    if "colors" in tensors and tensors["colors"].shape != vertices:
        raise ValueError(
            f"{_described(tensors['colors'], 'colors')}: expected {_text(vertices)}, the shape of "
            "vertices"
        )
    if "faces" in tensors:
        faces = tensors["faces"]
        if faces.dtype in (*FLOATS, "bool"):
            raise TypeError(f"{_described(faces, 'faces')}: expected integers")
        if faces.shape[0] != vertices[0]:
            raise ValueError(
                f"{_described(faces, 'faces')}: a batch of {faces.shape[0]}, expected "
                f"{vertices[0]}, as many as vertices"
            )


def _formats(value: object, needed: str, allowed: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"dataformats is a {arguments.kind(value)}, expected a str like {allowed}")
    formats = value.upper()
    letters = set(formats)
    if len(letters) != len(formats) or not set(needed) <= letters <= set(allowed):
        optional = "".join(letter for letter in allowed if letter not in needed)
        beside = f", and any of {', '.join(optional)}," if optional else ""
        raise ValueError(
            f"dataformats is {value!r}, expected the letters {', '.join(needed)}{beside} each once"
        )
    return formats


def _sizes(what: str, shape: tuple[int, ...], formats: str) -> dict[str, int]:
    if len(shape) != len(formats):
        cure = _alternative(shape, formats)
        raise ValueError(f"{what}: expected {len(formats)} dimensions, {formats}{cure}")
    if math.prod(shape) == 0:
        raise ValueError(f"{what}: it has no pixels")
    return dict(zip(formats, shape, strict=True))


def _check_channels(what: str, channels: int, formats: str, shape: tuple[int, ...] = ()) -> None:
    """``shape`` is that of what ``dataformats`` can speak of; empty if the call takes none."""
    if channels not in IMAGE_CHANNELS:
        cure = _alternative(shape, formats) if shape else ""
        raise ValueError(f"{what} as {formats}: {channels} channels, expected 1, 3 or 4{cure}")


def _alternative(shape: tuple[int, ...], formats: str) -> str:
    """What to pass if the dimensions are not ``formats``; empty if nothing fits."""
    is_last = shape[-1:] and shape[-1] in IMAGE_CHANNELS
    first, last = ("", "C") if is_last else ("C", "")
    batch = {3: "", 4: "N", 5: "NT"}.get(len(shape))
    found = "HW" if len(shape) == 2 else "" if batch is None else f"{batch}{first}HW{last}"
    if not found or found == formats or ("T" in found) != ("T" in formats):
        return ""
    return f"; if that is not what the dimensions are, pass dataformats={found!r}"


def _described(tensor: Tensor, name: str) -> str:
    return f"{name} of dtype {tensor.dtype} and shape {_text(tensor.shape)}"


def _text(shape: tuple[int, ...]) -> str:
    return str(tuple(shape))
