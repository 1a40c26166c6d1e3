"""The frame of a record: golden bytes, both directions, and damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from boardd_protos import frame as framing
from boardd_protos.frame import Frame, FrameError, FrameKind
from hypothesis import given
from hypothesis import strategies as st

SCALAR = Frame(FrameKind.SCALAR, 0, 1, 7, 1700000000.5, 3, 0.25, b"")
SUMMARY = Frame(FrameKind.SUMMARY, 0, 2, -1, 0.0, 4, 0.0, b"abc")
END_RUN = Frame(FrameKind.END_RUN, 0, 2**64 - 1, 0, 1.0, 2**32 - 1, 0.0, b"")
ABORTED = Frame(FrameKind.ABORTED, framing.CLAIMED, 9, 2**63 - 1, 1.0, 1, 0.0, "näh".encode())

# Written by hand from the table in docs/wire.md.
GOLDEN = [
    (
        SCALAR,
        "30000000 01 00 0000 0100000000000000 0700000000000000 00002040fc54d941"
        "03000000 00000000 000000000000d03f",
    ),
    (
        SUMMARY,
        "38000000 02 00 0000 0200000000000000 ffffffffffffffff 0000000000000000"
        "04000000 03000000 0000000000000000 6162630000000000",
    ),
    (
        END_RUN,
        "30000000 03 00 0000 ffffffffffffffff 0000000000000000 000000000000f03f"
        "ffffffff 00000000 0000000000000000",
    ),
    (
        ABORTED,
        "38000000 04 01 0000 0900000000000000 ffffffffffffff7f 000000000000f03f"
        "01000000 04000000 0000000000000000 6ec3a46800000000",
    ),
]


@pytest.mark.parametrize(("frame", "golden"), GOLDEN)
def test_golden_bytes_in_both_directions(frame: Frame, golden: str) -> None:
    data = bytes.fromhex(golden)
    assert framing.encode(frame) == data
    assert list(framing.decode(data)) == [frame]


def test_frames_lie_back_to_back() -> None:
    frames = [frame for frame, _ in GOLDEN]
    data = b"".join(map(framing.encode, frames))
    assert list(framing.decode(memoryview(data))) == frames


def test_scalars_back_to_back_are_an_array() -> None:
    frames = [SCALAR._replace(sequence=i, value=float(i)) for i in range(1, 6)]
    array = np.frombuffer(b"".join(map(framing.encode, frames)), framing.FRAME_DTYPE)
    assert array["sequence"].tolist() == [1, 2, 3, 4, 5]
    assert array["value"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert array["step"].tolist() == [7] * 5
    assert array["wall_time"].tolist() == [1700000000.5] * 5
    assert array["target"].tolist() == [3] * 5


def test_offsets_that_a_client_patches() -> None:
    data = bytearray(framing.encode(SCALAR._replace(flags=framing.CLAIMED)))
    data[framing.FLAGS_OFFSET] = 0
    struct.pack_into("<d", data, framing.VALUE_OFFSET, 4.5)
    assert list(framing.decode(bytes(data))) == [SCALAR._replace(value=4.5)]


@pytest.mark.parametrize("length", range(1, 56))
def test_a_cut_frame_is_an_error(length: int) -> None:
    data = framing.encode(SUMMARY)
    with pytest.raises(FrameError):
        list(framing.decode(data[:length]))
    whole_then_cut = framing.encode(SCALAR) + data[:length]
    decoded = framing.decode(whole_then_cut)
    assert next(decoded) == SCALAR
    with pytest.raises(FrameError):
        next(decoded)


@pytest.mark.parametrize(
    ("offset", "value"), [(0, 0), (0, 44), (0, 2**32 - 1), (36, 1), (36, 2**32 - 1)]
)
def test_sizes_that_contradict_each_other(offset: int, value: int) -> None:
    data = bytearray(framing.encode(SCALAR) * 2)
    struct.pack_into("<I", data, offset, value)
    with pytest.raises(FrameError):
        list(framing.decode(bytes(data)))


@given(
    st.builds(
        Frame,
        kind=st.integers(0, 255),
        flags=st.integers(0, 255),
        sequence=st.integers(0, 2**64 - 1),
        step=st.integers(-(2**63), 2**63 - 1),
        wall_time=st.floats(allow_nan=False),
        target=st.integers(0, 2**32 - 1),
        value=st.floats(allow_nan=False),
        payload=st.binary(max_size=100),
    )
)
def test_any_frame_survives(frame: Frame) -> None:
    data = framing.encode(frame)
    assert len(data) % framing.ALIGNMENT == 0
    assert list(framing.decode(data)) == [frame]


@given(st.binary(max_size=200))
def test_garbage_is_decoded_or_refused(data: bytes) -> None:
    try:
        frames = list(framing.decode(data))
    except FrameError:
        return
    # Whatever decodes has told its own size truly.
    assert sum(framing.frame_bytes(len(frame.payload)) for frame in frames) == len(data)
