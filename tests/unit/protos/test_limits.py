"""What both ends check, they take and refuse alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from boardd.core.refusals import RefusedError
from boardd.core.runs import names
from boardd.reduce.audio import encode_wav
from boardd.reduce.dtypes import as_array
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule
from boardd.reduce.image.gif import encode_gif
from boardd.reduce.image.grid import image_grid
from boardd_client import capture
from boardd_client.calls import arguments, payloads, shapes
from boardd_protos import boardd_pb2 as pb
from boardd_protos import dtypes, limits, reasons, tags
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError

Check = Callable[[], object]


def pixels(*shape: int) -> np.ndarray:
    """An image of many pixels and few bytes."""
    return np.broadcast_to(np.uint8(0), shape)


def of_shape(*shape: int) -> capture.Tensor:
    return capture.tensor(pixels(*shape), "x")


def samples(*shape: int) -> capture.Tensor:
    return capture.tensor(np.zeros(shape, np.int16), "audio")


def ascending(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float64)


SIDE = limits.MAX_GIF_SIDE
BINS = limits.MAX_BINS
STEREO, MONO = limits.max_sample_rate(2), limits.max_sample_rate(1)


@pytest.mark.parametrize(
    ("client", "daemon"),
    [
        (lambda: arguments.bins(BINS), lambda: EqualWidth(BINS)),
        (lambda: arguments.bins(ascending(BINS + 1)), lambda: Edges(ascending(BINS + 1))),
        *[
            (lambda rule=rule: arguments.bins(rule), lambda rule=rule: Rule(rule))
            for rule in limits.NUMPY_BIN_RULES
        ],
        (
            lambda: shapes.audio(samples(9), MONO),
            lambda: encode_wav(np.zeros(9, np.int16), MONO),
        ),
        (
            lambda: shapes.audio(samples(9, 2), STEREO),
            lambda: encode_wav(np.zeros((9, 2), np.int16), STEREO),
        ),
        (
            lambda: payloads.tensor(of_shape(*[1] * limits.MAX_DIMENSIONS)),
            lambda: as_array(b"0", "uint8", [1] * limits.MAX_DIMENSIONS),
        ),
        *[
            (
                lambda channels=channels: shapes.image(of_shape(channels, 2, 2), None),
                lambda channels=channels: image_grid(pixels(channels, 2, 2), dataformats="CHW"),
            )
            for channels in limits.IMAGE_CHANNELS
        ],
        (lambda: arguments.tag("t" * 1024), lambda: names.shown_tag("t" * 1024)),
        (lambda: arguments.run("r" * 255), lambda: names.segments("r" * 255, "run")),
        (lambda: arguments.filename_suffix("s" * 64), lambda: names.check_suffix("s" * 64)),
    ],
)
def test_the_largest_is_taken(client: Check, daemon: Check) -> None:
    client()
    daemon()


@pytest.mark.parametrize(
    ("client", "daemon"),
    [
        (lambda: arguments.bins(BINS + 1), lambda: EqualWidth(BINS + 1)),
        (lambda: arguments.bins(ascending(BINS + 2)), lambda: Edges(ascending(BINS + 2))),
        (lambda: arguments.bins("freedman"), lambda: Rule("freedman")),
        (
            lambda: shapes.audio(samples(9), MONO + 1),
            lambda: encode_wav(np.zeros(9, np.int16), MONO + 1),
        ),
        (
            lambda: shapes.audio(samples(9, 2), STEREO + 1),
            lambda: encode_wav(np.zeros((9, 2), np.int16), STEREO + 1),
        ),
        (
            lambda: shapes.image(of_shape(1 << 14, (1 << 13) + 1), None),
            lambda: image_grid(pixels(1 << 14, (1 << 13) + 1), dataformats="HW"),
        ),
        (
            lambda: shapes.image(of_shape(2, 2, 2), None),
            lambda: image_grid(pixels(2, 2, 2), dataformats="CHW"),
        ),
        (
            lambda: shapes.video(of_shape(1, 1, 1, 1, SIDE + 1), "NTCHW"),
            lambda: encode_gif(pixels(1, 1, 1, 1, SIDE + 1), dataformats="NTCHW", fps=1),
        ),
        (lambda: arguments.tag("t" * 1025), lambda: names.shown_tag("t" * 1025)),
        (lambda: arguments.tag("///"), lambda: names.shown_tag("///")),
        (lambda: arguments.run("r" * 256), lambda: names.segments("r" * 256, "run")),
        (lambda: arguments.run("a/../b"), lambda: names.segments("a/../b", "run")),
        (lambda: arguments.filename_suffix("s" * 65), lambda: names.check_suffix("s" * 65)),
    ],
)
def test_what_is_larger_is_refused(client: Check, daemon: Check) -> None:
    with pytest.raises(ValueError, match=r"expected|more than|none of|out of"):
        client()
    with pytest.raises((InvalidRecordError, InvalidTensorError, RefusedError)):
        daemon()


def test_a_tensor_of_more_dimensions_than_numpy_holds_is_refused() -> None:
    shape = [1] * (limits.MAX_DIMENSIONS + 1)

    class Deep:
        dtype = "uint8"

        def __init__(self) -> None:
            self.shape = tuple(shape)

    with pytest.raises(ValueError, match="33 dimensions, expected 32 at most"):
        payloads.tensor(Deep())
    with pytest.raises(InvalidTensorError, match="33 dimensions"):
        as_array(b"0", "uint8", shape)


def test_the_most_edges_leave_half_of_a_payload_free() -> None:
    bins = arguments.bins(ascending(limits.MAX_BINS + 1))
    data = payloads.histogram("float32", (1,), bins)
    assert len(data) < limits.MAX_PAYLOAD_BYTES * 0.51
    assert limits.MAX_PAYLOAD_BYTES < limits.MIN_MESSAGE_BYTES <= limits.DEFAULT_MESSAGE_BYTES


def test_cleaning_a_tag_never_lengthens_it() -> None:
    for tag in (
        "loss",
        "a b",
        "/x",
        "h\u00e9",
        "\u2603",
        "\U0001f600" * 3,
        "\x00",
        "\u4e2d/\u6587",
    ):
        assert len(tags.clean(tag).encode()) <= len(tag.encode())
        assert tags.clean(tags.clean(tag)) == tags.clean(tag)


@pytest.mark.parametrize("dtype", dtypes.ITEM_BYTES)
def test_an_element_is_read_as_a_float(dtype: str) -> None:
    data = {"bool": b"\x01", "bfloat16": b"\x80\x3f"}.get(dtype)
    if data is None:
        data = np.array(1, np.dtype(dtype).newbyteorder("<")).tobytes()
    assert len(data) == dtypes.ITEM_BYTES[dtype]
    assert dtypes.element(data, dtype) == 1.0
    assert as_array(data, dtype, ()) == 1.0


def test_a_reason_that_is_not_known_has_its_number() -> None:
    assert reasons.reason_name(pb.OUTSIDE_ROOTS) == "OUTSIDE_ROOTS"
    assert reasons.reason_name(9999) == "REASON_9999"
