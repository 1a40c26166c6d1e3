"""Sprite sheets as the projector cuts them up."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from boardd.reduce.image.grid import image_grid
from boardd.reduce.image.png import encode_png
from boardd.reduce.image.sprite import sprite
from boardd_protos.invalid import InvalidTensorError
from PIL import Image


def thumbnails(sheet, count):
    """Cuts a sheet up as the projector does: columns of ``width``, row by row."""
    columns = sheet.pixels.shape[1] // sheet.width
    return [
        sheet.pixels[
            number // columns * sheet.height : (number // columns + 1) * sheet.height,
            number % columns * sheet.width : (number % columns + 1) * sheet.width,
        ]
        for number in range(count)
    ]


def random_images(shape, dtype="uint8"):
    random = np.random.default_rng(sum(shape))
    if dtype == "uint8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.random(shape).astype(dtype)


def area_means(image, height, width):
    """Scales one image [height, width, channels] down, each source pixel cut into pieces."""
    columns = np.repeat(image.astype(np.float64), width, axis=1)
    pieces = np.repeat(columns, height, axis=0)
    return pieces.reshape(height, image.shape[0], width, image.shape[1], -1).mean(axis=(1, 3))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10, 16, 17, 50])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_thumbnails_in_order_on_a_square_grid(count, channels):
    images = random_images((count, channels, 5, 7))
    sheet = sprite(images)
    per_row = math.ceil(math.sqrt(count))
    assert (sheet.width, sheet.height, sheet.per_row) == (7, 5, per_row)
    assert sheet.pixels.shape == (per_row * 5, per_row * 7, channels)
    for image, thumbnail in zip(images, thumbnails(sheet, count), strict=True):
        np.testing.assert_array_equal(thumbnail, image.transpose(1, 2, 0))
    assert not any(spare.any() for spare in thumbnails(sheet, per_row**2)[count:])


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("dataformats", ["NCHW", "NHWC", "NHW", "HWCN"])
def test_conversion_is_the_grids(dataformats, dtype):
    images = random_images(tuple({"N": 12, "C": 3, "H": 6, "W": 5}[axis] for axis in dataformats))
    images = images if dtype == "uint8" else (images / 200 - 0.1).astype(dtype)
    if dtype != "uint8":
        images.flat[3] = np.nan
    grid = image_grid(images, dataformats=dataformats, nrow=4, padding=0)
    sheet = sprite(images, dataformats=dataformats)
    np.testing.assert_array_equal(sheet.pixels[: grid.shape[0]], grid)


def test_2304_images_of_mnists_size():
    images = random_images((2304, 1, 28, 28))
    sheet = sprite(images)
    assert sheet.pixels.shape == (48 * 28, 48 * 28, 1)
    decoded = Image.open(io.BytesIO(encode_png(sheet.pixels)))
    np.testing.assert_array_equal(np.asarray(decoded), sheet.pixels[..., 0])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("side", [10, 12, 16, 21, 29])
def test_thumbnails_shrink_to_fit(side, dtype):
    images = random_images((9, 3, 10, 10), dtype)
    sheet = sprite(images, max_side=side)
    room = side // 3
    assert (sheet.width, sheet.height) == (room, room)
    assert max(sheet.pixels.shape[:2]) <= side
    for image, thumbnail in zip(images, thumbnails(sheet, 9), strict=True):
        levels = image.transpose(1, 2, 0) * (1 if dtype == "uint8" else 255)
        expected = area_means(levels, room, room)
        assert np.abs(thumbnail - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(10, 40, (2, 8)), (40, 10, (8, 2)), (1, 99, (1, 8)), (8, 4, (8, 4))],
)
def test_proportions_are_kept(height, width, shown):
    sheet = sprite(random_images((4, 1, height, width)), max_side=16)
    assert (sheet.height, sheet.width) == shown


def test_the_limit_is_met_exactly():
    images = random_images((4, 1, 8, 8))
    whole = sprite(images, max_side=16)
    assert whole.width == 8
    for image, thumbnail in zip(images, thumbnails(whole, 4), strict=True):
        np.testing.assert_array_equal(thumbnail[..., 0], image[0])
    assert sprite(images, max_side=15).width == 7


def test_100_000_images_fit():
    images = np.broadcast_to(np.uint8(200), (100_000, 1, 28, 28))
    sheet = sprite(images)
    assert (sheet.width, sheet.height, sheet.per_row) == (25, 25, 317)
    assert sheet.pixels.shape == (7925, 7925, 1)
    assert (thumbnails(sheet, 100_000)[-1] == 200).all()


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("size", [11, 97, 300])
def test_an_even_image_stays_even_when_it_shrinks(size, level):
    for image in (np.uint8(level), np.float32(level) / 255):
        sheet = sprite(np.broadcast_to(image, (4, 1, size, size)), max_side=19)
        assert (sheet.pixels == level).all()


def test_nan_and_values_outside_do_not_spread_when_it_shrinks():
    image = np.full((1, 1, 4, 4), 0.5, np.float32)
    image[0, 0, 0] = [np.nan, np.inf, -np.inf, 7]
    sheet = sprite(image, max_side=2)
    # Means of 0, 255 and two of 127.5.
    assert sheet.pixels[..., 0].tolist() == [[128, 128], [128, 128]]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((5, 2, 4, 4), np.uint8), {}, "2 channels"),
        (np.zeros((3, 4, 4), np.uint8), {}, r"\(3, 4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), {"dataformats": "CHW"}, "batch"),
        (np.zeros((0, 3, 4, 4), np.uint8), {}, "no pixels"),
        (np.zeros((5, 3, 4, 4), np.int32), {}, "int32"),
        (np.zeros((5, 3, 4, 4), bool), {}, "bool"),
        (np.zeros((5, 3, 4, 4), np.uint8), {"max_side": 2}, "5 images"),
    ],
)
def test_what_makes_no_sheet(images, options, message):
    with pytest.raises(InvalidTensorError, match=message):
        sprite(images, **options)
