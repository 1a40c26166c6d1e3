"""GIFs hold the frames that Pillow's reader finds in them, tiled as tensorboardX does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from boardd.reduce.image.gif import Gif, encode_gif
from boardd_protos.invalid import InvalidTensorError
from PIL import Image


def read_back(gif: Gif) -> tuple[np.ndarray, list[int]]:
    """Returns the frames as RGB, and how long each is shown in milliseconds."""
    frames, durations = [], []
    with Image.open(io.BytesIO(gif.data)) as image:
        assert image.format == "GIF"
        assert image.size == (gif.width, gif.height)
        assert image.info["loop"] == 0
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.array(image.convert("RGB")))
            durations.append(image.info["duration"])
    return np.stack(frames), durations


def tiled(video):
    """tensorboardX's tiling of uint8 [N, T, C, H, W], with the clips padded to a power of two."""
    count, length, channels, height, width = video.shape
    padded = 1
    while padded < count:
        padded *= 2
    rows = 2 ** ((count.bit_length() - 1) // 2)
    black = np.zeros((padded - count, length, channels, height, width), np.uint8)
    grid = np.concatenate([video, black]).reshape(
        rows, padded // rows, length, channels, height, width
    )
    return grid.transpose(2, 0, 4, 1, 5, 3).reshape(
        length, rows * height, padded // rows * width, channels
    )


def few_colours(shape, seed=0):
    """A video [N, T, 3, H, W] of 200 colours in all."""
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, (200, 3), dtype=np.uint8)
    palette[0] = 0
    count, length, _, height, width = shape
    return palette[random.integers(0, 200, (count, length, height, width))].transpose(0, 1, 4, 2, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
def test_clips_are_tiled(count):
    video = few_colours((count, 3, 3, 6, 5))
    gif = encode_gif(video)
    frames, _ = read_back(gif)
    np.testing.assert_array_equal(frames, tiled(video))
    assert gif.channels == 3


@pytest.mark.parametrize("seed", range(5))
def test_colours_are_exact_up_to_256_in_a_frame(seed):
    random = np.random.default_rng(seed)
    # Each frame has another 256.
    palettes = random.integers(0, 256, (4, 256, 3), dtype=np.uint8)
    order = np.stack([random.permutation(256).reshape(16, 16) for _ in range(4)])
    frames = np.stack([palette[places] for palette, places in zip(palettes, order, strict=True)])
    gif = encode_gif(frames[np.newaxis], dataformats="NTHWC")
    np.testing.assert_array_equal(read_back(gif)[0], frames)


def test_more_colours_come_close():
    y, x = np.mgrid[0:64, 0:64].astype(np.float32) / 64
    frame = np.stack([x, y, (x + y) / 2])
    video = np.stack([frame, frame[::-1]])[np.newaxis]
    frames, _ = read_back(encode_gif(video))
    error = np.abs(frames.astype(float) - 255 * video[0].transpose(0, 2, 3, 1))
    assert error.mean() < 8
    assert error.max() < 40


def test_grey_is_exact():
    video = np.random.default_rng(0).integers(0, 256, (2, 4, 1, 20, 20), dtype=np.uint8)
    gif = encode_gif(video)
    assert gif.channels == 1
    np.testing.assert_array_equal(read_back(gif)[0], np.repeat(tiled(video), 3, axis=3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_converted_as_images_are(dtype):
    values = np.array([-1, 0, 0.5, 1, 2, np.nan, 0.1, 0.9], dtype).reshape(1, 1, 1, 2, 4)
    frames, _ = read_back(encode_gif(values))
    tenth, nine_tenths = (int(np.float32(values.flat[place]) * 255) for place in (6, 7))
    assert frames[0, ..., 0].tolist() == [[0, 0, 127, 255], [255, 0, tenth, nine_tenths]]


def test_transparent_is_white():
    video = np.zeros((3, 1, 4, 2, 2), np.uint8)
    video[:, :, 0] = 200
    video[1, :, 3] = 255
    video[2, :, 3] = 100
    frame = read_back(encode_gif(video))[0][0]
    assert frame[0, 0].tolist() == [255, 255, 255]
    assert frame[0, 2].tolist() == [200, 0, 0]
    assert frame[0, 4].tolist() == [round(255 - 55 * 100 / 255), 155, 155]
    # The clip that is missing is black.
    assert frame[0, 6].tolist() == [0, 0, 0]


def test_dataformats():
    video = few_colours((2, 3, 3, 4, 5))
    expected = encode_gif(video)
    for dataformats in ("NTHWC", "TNHWC", "WHCTN"):
        laid_out = video.transpose(["NTCHW".index(axis) for axis in dataformats])
        assert encode_gif(laid_out, dataformats=dataformats) == expected


@pytest.mark.parametrize(
    ("fps", "delay"),
    [(4, 250), (10, 100), (25, 40), (50, 20), (60, 20), (1000, 20), (1e-9, 655350)],
)
def test_even_rates(fps, delay):
    _, durations = read_back(encode_gif(few_colours((1, 6, 3, 4, 4)), fps))
    assert durations == [delay] * 6


@pytest.mark.parametrize("fps", [3, 7, 24, 29.97, 30])
def test_uneven_rates_keep_the_time_of_the_whole(fps):
    _, durations = read_back(encode_gif(few_colours((1, 60, 3, 4, 4)), fps))
    assert abs(sum(durations) - 60 * 1000 / fps) <= 5
    assert max(durations) - min(durations) == 10


def test_frames_alike_keep_their_time():
    video = np.repeat(few_colours((1, 2, 3, 4, 4)), 5, axis=1)
    frames, durations = read_back(encode_gif(video, 10))
    assert sum(durations) == 1000
    np.testing.assert_array_equal(frames[[0, -1]], tiled(video)[[0, -1]])


@pytest.mark.parametrize(
    ("video", "options", "message"),
    [
        (np.zeros((1, 2, 2, 4, 4), np.uint8), {}, "2 channels"),
        (np.zeros((2, 3, 4, 4), np.uint8), {}, r"\(2, 3, 4, 4\)"),
        (np.zeros((1, 0, 3, 4, 4), np.uint8), {}, r"\(1, 0, 3, 4, 4\)"),
        (np.zeros((1, 2, 3, 4, 4), np.int16), {}, "int16"),
        (np.zeros((1, 2, 3, 4, 4), np.uint8), {"dataformats": "NTCH"}, "'NTCH'"),
        (np.zeros((1, 2, 3, 4, 4), np.uint8), {"dataformats": "NTCHH"}, "'NTCHH'"),
        (np.zeros((1, 2, 3, 4, 4), np.uint8), {"fps": 0}, "0 frames a second"),
        (np.zeros((1, 2, 3, 4, 4), np.uint8), {"fps": float("nan")}, "nan"),
        (np.broadcast_to(np.uint8(0), (1, 1, 3, 1, 65_536)), {}, "1 x 65536"),
        (np.broadcast_to(np.uint8(0), (1, 10_001, 1, 1, 1)), {}, "10001 frames; at most 10000"),
        (np.broadcast_to(np.uint8(0), (1, 1, 3, 60_000, 60_000)), {}, "60000 x 60000"),
    ],
)
def test_what_makes_no_video(video, options, message):
    with pytest.raises(InvalidTensorError, match=message):
        encode_gif(video, **options)
