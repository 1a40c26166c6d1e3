from __future__ import annotations

import io

import numpy as np
import pytest
from boardd.reduce.image.boxes import draw_boxes
from boardd.reduce.image.grid import image_grid
from boardd_protos import boardd_pb2 as pb
from PIL import Image
from support.summaries import check_rejected, record, values_of

RANDOM = np.random.default_rng(2)
BATCH = RANDOM.normal(size=(5, 3, 4, 6)).astype(np.float32)
BOXES = np.array([[1, 1, 20, 12], [5, 3, 30, 25]], np.float32)


def pixels_of(value: object) -> np.ndarray:
    image = value.image  # type: ignore[attr-defined]
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    pixels = pixels.reshape(image.height, image.width, -1)
    assert pixels.shape[2] == image.colorspace
    return pixels


def test_all_options_of_a_grid_are_honoured() -> None:
    options = pb.Image(
        dataformats="NCHW",
        nrow=3,
        padding=4,
        normalize="batch",
        value_range=[-1, 2],
        pad_value=200,
    )
    (value,) = values_of(record(BATCH, image=options))
    expected = image_grid(
        BATCH,
        dataformats="NCHW",
        nrow=3,
        padding=4,
        normalize="batch",
        value_range=(-1, 2),
        pad_value=200,
    )
    np.testing.assert_array_equal(pixels_of(value), expected)
    assert (expected[0] == 200).all()


@pytest.mark.parametrize("labels", [[], ["cat", "dog"]])
def test_boxes_are_drawn_on_the_image(labels: list[str]) -> None:
    image = RANDOM.integers(0, 256, (3, 40, 50), np.uint8)
    options = pb.Image(dataformats="CHW", has_boxes=True, box_labels=labels)
    (value,) = values_of(record(image, BOXES, image=options))
    expected = draw_boxes(np.ascontiguousarray(image.transpose(1, 2, 0)), BOXES, labels or None)
    np.testing.assert_array_equal(pixels_of(value), expected)


@pytest.mark.parametrize(
    ("arrays", "options", "reason", "match"),
    [
        ([BATCH, BOXES], pb.Image(dataformats="NCHW"), pb.INVALID_RECORD, "has_boxes"),
        ([BATCH], pb.Image(dataformats="NCHW", has_boxes=True), pb.INVALID_RECORD, "has_boxes"),
        (
            [BATCH, BOXES],
            pb.Image(dataformats="NCHW", has_boxes=True),
            pb.INVALID_TENSOR,
            "batch of 5 images",
        ),
        (
            [BATCH[0], BOXES],
            pb.Image(dataformats="CHW", has_boxes=True, box_labels=["one"]),
            pb.INVALID_TENSOR,
            "1 labels for 2 boxes",
        ),
        (
            [BATCH],
            pb.Image(dataformats="NCHW", normalize="batch", value_range=[1]),
            pb.INVALID_RECORD,
            "value_range of 1 values",
        ),
        ([BATCH], pb.Image(dataformats="NCHW", normalize="all"), pb.INVALID_TENSOR, "'all'"),
        ([BATCH], pb.Image(dataformats="NCHW", pad_value=256), pb.INVALID_TENSOR, "256"),
    ],
)
def test_what_is_no_image(
    arrays: list[np.ndarray], options: pb.Image, reason: int, match: str
) -> None:
    check_rejected(record(*arrays, image=options), reason, match)


@pytest.mark.parametrize(
    ("dataformats", "shape"), [("", (1, 3, 1, 4, 6)), ("TNHWC", (3, 1, 4, 6, 1))]
)
def test_video(dataformats: str, shape: tuple[int, ...]) -> None:
    # A frame of each third of grey.
    frames = np.array([0, 100, 200], np.uint8).reshape(-1, 1, 1) * np.ones((4, 6), np.uint8)
    message = record(
        frames.reshape(shape), video=pb.Video(frames_per_second=10, dataformats=dataformats)
    )
    (value,) = values_of(message)
    gif = Image.open(io.BytesIO(value.image.encoded_image_string))
    assert (gif.n_frames, gif.info["duration"]) == (3, 100)
    assert (value.image.height, value.image.width, value.image.colorspace) == (4, 6, 1)


def test_a_video_without_a_rate() -> None:
    message = record(np.zeros((1, 2, 1, 4, 6), np.uint8), video=pb.Video())
    check_rejected(message, pb.INVALID_TENSOR, "frames a second")
