"""Boxes on images, pixel by pixel where they are lines, and Pillow's own text where not."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.reduce.image.boxes import MAX_LABEL_CHARACTERS, draw_boxes
from boardd_protos.invalid import InvalidTensorError
from PIL import Image, ImageDraw, ImageFont

RED = [255, 0, 0]


def blank(height=60, width=80, channels=3, level=40):
    return np.full((height, width, channels), level, np.uint8)


def red(pixels):
    return (pixels[..., :3] == RED).all(axis=2)


def outline(shape, left, top, right, bottom):
    """A frame one pixel wide, both corners on it."""
    frame = np.zeros(shape, bool)
    frame[top : bottom + 1, [left, right]] = True
    frame[[top, bottom], left : right + 1] = True
    return frame


def test_a_thin_box_is_its_outline():
    image = blank()
    drawn = draw_boxes(image, np.array([[10, 20, 50, 40]]), thickness=1)
    np.testing.assert_array_equal(red(drawn), outline((60, 80), 10, 20, 50, 40))
    assert (drawn[~red(drawn)] == 40).all()
    assert (image == 40).all()


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_coordinates_of_every_type(dtype):
    boxes = np.array([[1, 2, 30, 40], [5, 6, 20, 50]])
    expected = outline((60, 80), 1, 2, 30, 40) | outline((60, 80), 5, 6, 20, 50)
    drawn = draw_boxes(blank(), boxes.astype(dtype), thickness=1)
    np.testing.assert_array_equal(red(drawn), expected)


def test_corners_in_any_order():
    expected = draw_boxes(blank(), np.array([[10, 20, 50, 40]]), ["a"])
    for corners in ([50, 40, 10, 20], [10, 40, 50, 20], [50, 20, 10, 40]):
        np.testing.assert_array_equal(draw_boxes(blank(), np.array([corners]), ["a"]), expected)


@pytest.mark.parametrize("thickness", [2, 3, 5])
def test_thick_lines_cover_the_thin_ones(thickness):
    box = np.array([[20, 20, 50, 40]])
    thin, thick = (red(draw_boxes(blank(), box, thickness=width)) for width in (1, thickness))
    assert (thick | ~thin).all()
    # Across the middle of the left edge and of the top edge.
    assert thick[30, :35].sum() == thickness
    assert thick[:30, 35].sum() == thickness


def test_what_is_outside_is_cut_off():
    for far in (100.0, 1e6, 1e30, 3e38):
        drawn = draw_boxes(blank(), np.array([[-far, -far, far, far]]), ["label"], thickness=1)
        assert (drawn == 40).all()
        drawn = draw_boxes(blank(), np.array([[10, -far, far, far]]), thickness=1)
        np.testing.assert_array_equal(np.flatnonzero(red(drawn).any(axis=0)), [10])


@pytest.mark.parametrize(("channels", "returned"), [(1, 3), (3, 3), (4, 4)])
def test_channels(channels, returned):
    image = np.random.default_rng(0).integers(0, 255, (30, 30, channels), dtype=np.uint8)
    drawn = draw_boxes(image, np.array([[5, 5, 20, 20]]), thickness=1)
    assert drawn.shape == (30, 30, returned)
    frame = outline((30, 30), 5, 5, 20, 20)
    assert (drawn[frame][:, :3] == RED).all()
    assert (drawn[frame][:, 3:] == 255).all()
    np.testing.assert_array_equal(
        drawn[~frame],
        np.broadcast_to(image, (30, 30, returned))[~frame] if channels == 1 else image[~frame],
    )


def test_no_boxes_draw_nothing():
    image = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4))), image)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4)), []), image)


def test_labels_are_drawn_as_tensorboardx_draws_them():
    boxes = np.array([[5, 5, 60, 30], [20.5, 10, 70, 55.25]])
    labels = ["dog 0.9", "cat"]
    expected = Image.fromarray(blank())
    draw = ImageDraw.Draw(expected)
    font = ImageFont.load_default()
    for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
        corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
        draw.line(corners, width=2, fill="Red")
        start, above, end, below = font.getbbox(label)
        margin = np.ceil(0.05 * (below - above))
        text_top = bottom - (below - above) - margin
        draw.rectangle([(left, text_top - margin), (left + end - start, bottom)], fill="Red")
        draw.text((left + margin, text_top), label, fill="black", font=font)
    np.testing.assert_array_equal(draw_boxes(blank(), boxes, labels), np.asarray(expected))


def test_a_label_is_dark_on_red_in_the_lower_left_corner():
    box = np.array([[10, 10, 70, 50]])
    plain, labelled, empty = (draw_boxes(blank(), box, text) for text in (None, ["cat"], [""]))
    np.testing.assert_array_equal(plain, empty)
    rows, columns = np.nonzero((plain != labelled).any(axis=2))
    assert rows.min() > 30
    assert rows.max() <= 51
    assert columns.min() >= 10
    assert columns.max() < 40
    assert (labelled[40:50, 10:40].max(axis=2) < 40).any()


def test_labels_of_odd_texts():
    box = np.array([[10, 10, 70, 50]])
    np.testing.assert_array_equal(
        draw_boxes(blank(), box, ["a\nb"]), draw_boxes(blank(), box, ["a b"])
    )
    long = draw_boxes(blank(), box, ["W" * 100_000])
    np.testing.assert_array_equal(long, draw_boxes(blank(), box, ["W" * MAX_LABEL_CHARACTERS]))
    draw_boxes(blank(), box, ["čau 猫 \N{CAT FACE} \0"])


def test_colours():
    box = np.array([[10, 10, 40, 40]])
    drawn = draw_boxes(blank(), box, thickness=1, colour="#00ff7f")
    assert drawn[10, 20].tolist() == [0, 255, 127]


@pytest.mark.parametrize(
    ("rescale", "shape"), [(1, (60, 80)), (0.5, (30, 40)), (2, (120, 160)), (1e-6, (1, 1))]
)
def test_rescaling(rescale, shape):
    drawn = draw_boxes(blank(), np.array([[10, 10, 40, 40]]), rescale=rescale)
    assert drawn.shape == (*shape, 3)
    assert drawn.dtype == np.uint8


@pytest.mark.parametrize(
    ("boxes", "options", "message"),
    [
        (np.zeros(4), {}, r"\(4,\)"),
        (np.zeros((2, 3)), {}, r"\(2, 3\)"),
        (np.zeros((2, 4), complex), {}, "complex128"),
        (np.zeros((2, 4), bool), {}, "bool"),
        (np.array([[0, 0, 1, 1], [0, 0, np.nan, 1]]), {}, "1 of 2 .* box 1"),
        (np.array([[0, 0, np.inf, 1]]), {}, "1 of 1"),
        (np.zeros((2, 4)), {"labels": ["a"]}, "1 labels for 2"),
        (np.zeros((2, 4)), {"labels": []}, "0 labels for 2"),
        (np.zeros((1, 4)), {"thickness": 0}, "thickness of 0"),
        (np.zeros((1, 4)), {"rescale": 0}, "rescale 0"),
        (np.zeros((1, 4)), {"rescale": float("nan")}, "nan"),
        (np.zeros((1, 4)), {"rescale": 1e6}, "60000000 x 80000000"),
        (np.zeros((1, 4)), {"colour": "reddish"}, "reddish"),
        (np.zeros((1, 4)), {"label_colour": "#12"}, "#12"),
    ],
)
def test_what_cannot_be_drawn(boxes, options, message):
    with pytest.raises(InvalidTensorError, match=message):
        draw_boxes(blank(), boxes, **options)


@pytest.mark.parametrize(
    "pixels",
    [blank(channels=2), blank(height=0), blank().astype(np.float32), blank()[..., 0]],
)
def test_what_is_no_image(pixels):
    with pytest.raises(InvalidTensorError):
        draw_boxes(pixels, np.zeros((1, 4)))
