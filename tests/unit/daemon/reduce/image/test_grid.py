"""Image grids are pixel-equal to the documented tiling, done here one pixel at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from boardd.reduce.image.grid import image_grid
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_PIXELS


def reference_pixel(value, dtype) -> int:
    """MXBoard's float to uint8: times 255 in the image's own type, truncated; then clipped."""
    if dtype == np.uint8:
        return int(value)
    if math.isnan(value):
        return 0
    scaled = dtype.type(min(max(value, 0.0), 1.0)) * dtype.type(255)
    return int(scaled)


def reference_grid(images, nrow=8, padding=2, pad_value=0):
    """Tiles [N, H, W, C] as MXBoard's make_image_grid does, pixel by pixel."""
    dtype = np.dtype(np.float32) if images.dtype == np.float16 else images.dtype
    count, height, width, channels = images.shape
    if count == 1:
        padding = 0
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    grid = np.full(
        (rows * (height + padding) + padding, columns * (width + padding) + padding, channels),
        pad_value,
        np.uint8,
    )
    for n, y, x, c in itertools.product(*map(range, images.shape)):
        row, column = divmod(n, columns)
        grid[
            padding + row * (height + padding) + y, padding + column * (width + padding) + x, c
        ] = reference_pixel(float(images[n, y, x, c]), dtype)
    return grid


def random_images(shape, dtype):
    random = np.random.default_rng(sum(shape))
    if dtype == "uint8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.random(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dataformats", ["CHW", "HWC", "NCHW", "NHWC", "HWCN"])
def test_layouts_with_channels(dataformats, channels, dtype):
    images = random_images((5 if "N" in dataformats else 1, 6, 7, channels), dtype)
    order = ["NHWC".index(axis) for axis in dataformats]
    laid_out = (images if "N" in dataformats else images[0]).transpose(
        order if "N" in dataformats else [axis - 1 for axis in order]
    )
    for array in (laid_out, np.ascontiguousarray(laid_out)):
        grid = image_grid(array, dataformats=dataformats, nrow=3, padding=2)
        assert grid.dtype == np.uint8
        np.testing.assert_array_equal(grid, reference_grid(images, nrow=3))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_layouts_without_channels(dtype):
    images = random_images((4, 5, 6, 1), dtype)
    np.testing.assert_array_equal(
        image_grid(images[..., 0], dataformats="NHW", nrow=8, padding=1),
        reference_grid(images, padding=1),
    )
    np.testing.assert_array_equal(
        image_grid(images[0, ..., 0], dataformats="HW", nrow=8, padding=1),
        reference_grid(images[:1]),
    )
    np.testing.assert_array_equal(
        image_grid(images[0, ..., 0].T, dataformats="WH"), reference_grid(images[:1])
    )


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("nrow", [1, 3, 8, 100])
@pytest.mark.parametrize("padding", [0, 1, 2, 5])
def test_tiling(count, nrow, padding):
    images = random_images((count, 2, 3, 3), "uint8")
    grid = image_grid(images, dataformats="NHWC", nrow=nrow, padding=padding, pad_value=9)
    np.testing.assert_array_equal(grid, reference_grid(images, nrow, padding, pad_value=9))


def test_the_defaults_are_mxboards():
    images = random_images((10, 28, 28, 1), "float32")
    grid = image_grid(images, dataformats="NHWC")
    assert grid.shape == (2 * 30 + 2, 8 * 30 + 2, 1)
    np.testing.assert_array_equal(grid, reference_grid(images, nrow=8, padding=2, pad_value=0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_outside_the_range_are_clipped_and_nan_is_black(dtype):
    values = [-0.5, -0.0, 0.0, 0.5, 0.999, 1.0, 1.001, 6e4, math.inf, -math.inf, math.nan, 1e-7]
    row = np.array([values], dtype)
    grid = image_grid(row, dataformats="HW")
    assert grid[0, :, 0].tolist() == [0, 0, 0, 127, 254, 255, 255, 255, 255, 0, 0, 0]


def test_every_8_bit_level_survives_division_by_255():
    """Truncation loses a level where the division rounded down, in MXBoard too."""
    levels = np.arange(256)
    row = (levels / 255).astype(np.float32)[np.newaxis]
    expected = [int(np.float32(value) * np.float32(255)) for value in row[0]]
    assert image_grid(row, dataformats="HW")[0, :, 0].tolist() == expected


@pytest.mark.parametrize("normalize", ["batch", "image"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_normalizing_stretches_to_the_whole_range(normalize, dtype):
    random = np.random.default_rng(5)
    images = (random.standard_normal((3, 4, 5, 3)) * np.arange(20, 50, 10)[:, None, None, None]) > 0
    if dtype != "bool":
        images = (random.standard_normal((3, 4, 5, 3)) * 40 + 100).astype(dtype)
    wide = images.astype(np.float64)
    axes = (1, 2, 3) if normalize == "image" else None
    low, high = wide.min(axis=axes, keepdims=True), wide.max(axis=axes, keepdims=True)
    expected = reference_grid((wide - low) / (high - low))
    grid = image_grid(images, dataformats="NHWC", normalize=normalize)
    # Float32 rounds differently from float64 just below a level.
    assert np.abs(grid.astype(int) - expected.astype(int)).max() <= 1
    assert (grid != expected).mean() < 0.02
    assert grid.max() == 255


def test_normalizing_with_a_range_clips():
    row = np.array([[-10.0, -1.0, 0.0, 1.0, 10.0]], np.float32)
    grid = image_grid(row, dataformats="HW", normalize="batch", value_range=(-1.0, 1.0))
    assert grid[0, :, 0].tolist() == [0, 0, 127, 255, 255]


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        ([3.0, 3.0], [0, 0]),
        ([math.nan, 1.0, 2.0], [0, 0, 255]),
        ([-math.inf, 1.0, 2.0, math.inf], [0, 0, 255, 255]),
        ([math.nan, math.inf], [0, 0]),
        ([-1.7e308, 0.0, 1.7e308], [0, 127, 255]),
    ],
)
def test_normalizing_odd_values(values, pixels):
    grid = image_grid(np.array([values]), dataformats="HW", normalize="image")
    assert grid[0, :, 0].tolist() == pixels


@pytest.mark.parametrize(
    ("shape", "dtype", "arguments", "message"),
    [
        ((4, 4), "int32", {"dataformats": "HW"}, "image of int32"),
        ((4, 4), "bool", {"dataformats": "HW"}, "image of bool"),
        ((4, 4), "complex64", {"dataformats": "HW"}, "image of complex64"),
        ((4, 4), "uint8", {"dataformats": "CHW"}, r"\(4, 4\) is not 'CHW'"),
        ((4, 4), "uint8", {"dataformats": "HC"}, "dataformats 'HC'"),
        ((4, 4), "uint8", {"dataformats": "HH"}, "dataformats 'HH'"),
        ((4, 4), "uint8", {"dataformats": "hw"}, "dataformats 'hw'"),
        ((4, 4, 4), "uint8", {"dataformats": "HWH"}, "dataformats 'HWH'"),
        ((2, 4, 4), "uint8", {"dataformats": "CHW"}, "2 channels"),
        ((0, 4), "uint8", {"dataformats": "HW"}, "no pixels"),
        ((0, 3, 4, 4), "uint8", {"dataformats": "NCHW"}, "no pixels"),
        ((4, 4), "uint8", {"dataformats": "HW", "nrow": 0}, "nrow 0"),
        ((4, 4), "uint8", {"dataformats": "HW", "padding": -1}, "padding -1"),
        ((4, 4), "uint8", {"dataformats": "HW", "pad_value": 256}, "pad_value 256"),
        ((4, 4), "uint8", {"dataformats": "HW", "normalize": "all"}, "normalize 'all'"),
        ((4, 4), "uint8", {"dataformats": "HW", "value_range": (0, 1)}, "without normalize"),
        (
            (4, 4),
            "uint8",
            {"dataformats": "HW", "normalize": "batch", "value_range": (1.0, 1.0)},
            r"value_range \(1.0, 1.0\)",
        ),
        ((2, 4, 4), "uint8", {"dataformats": "NHW", "padding": 2**31}, f"at most {MAX_PIXELS}"),
    ],
)
def test_what_is_no_image_is_refused(shape, dtype, arguments, message):
    with pytest.raises(InvalidTensorError, match=message):
        image_grid(np.zeros(shape, dtype), **arguments)
