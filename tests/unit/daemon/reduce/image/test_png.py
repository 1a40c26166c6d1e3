"""PNG files decode in Pillow to the very pixels that were encoded."""

from __future__ import annotations

import io

import numpy as np
import pytest
from boardd.reduce.image.png import encode_png
from boardd_protos.invalid import InvalidTensorError
from PIL import Image

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (13, 31), (64, 64), (255, 257)])
def test_pixels_survive(size, channels):
    random = np.random.default_rng(size[0] * channels)
    noise = random.integers(0, 256, (*size, channels), dtype=np.uint8)
    flat = np.full((*size, channels), 200, np.uint8)
    ramp = (np.arange(noise.size) // channels % 256).astype(np.uint8).reshape(noise.shape)
    for pixels in (noise, flat, ramp):
        image = decoded(encode_png(pixels))
        assert image.mode == MODES[channels]
        assert image.size == (size[1], size[0])
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_two_dimensions_are_grey():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = decoded(encode_png(pixels))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_any_memory_layout():
    pixels = np.arange(2 * 3 * 40, dtype=np.uint8).reshape(3, 8, 10).transpose(1, 2, 0)[::-1, ::2]
    np.testing.assert_array_equal(np.asarray(decoded(encode_png(pixels))), pixels)


def test_pillow_finds_every_checksum_right():
    image = Image.open(io.BytesIO(encode_png(np.zeros((5, 5, 3), np.uint8))))
    image.verify()


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), np.float32), "pixels of float32"),
        (np.zeros((2,), np.uint8), r"shape \(2,\)"),
        (np.zeros((2, 2, 5), np.uint8), r"shape \(2, 2, 5\)"),
        (np.zeros((2, 2, 0), np.uint8), r"shape \(2, 2, 0\)"),
        (np.zeros((0, 2, 3), np.uint8), r"shape \(0, 2, 3\)"),
        (np.zeros((2, 0), np.uint8), r"shape \(2, 0\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"shape \(1, 2, 2, 3\)"),
    ],
)
def test_what_is_no_picture_is_refused(pixels, message):
    with pytest.raises(InvalidTensorError, match=message):
        encode_png(pixels)
