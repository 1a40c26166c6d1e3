"""The walk over frames against a plain decoder, frame by frame."""

from __future__ import annotations

import itertools

import pytest
from boardd.core.intake import walker
from boardd.core.intake.frames import ScalarFrames
from boardd.core.intake.walker import (
    LOST,
    MAX_FRAMES,
    MAX_SCALARS,
    Source,
    Walk,
    walk,
    walk_message,
)
from boardd_protos.frame import (
    CLAIMED,
    HEADER_BYTES,
    PADDING,
    Frame,
    FrameError,
    FrameKind,
    decode,
    encode,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import end_run, scalar, scalars
from support.walked import bytes_of, frames_of

MAX_FRAME_BYTES = 1 << 16
#: Kinds and flags of one frame after the other; a row of equal ones is what NumPy looks for.
ROWS = st.lists(
    st.tuples(
        st.sampled_from([FrameKind.SCALAR, FrameKind.SCALAR, *FrameKind, 200]),
        st.sampled_from([0, 0, 0, CLAIMED, PADDING, CLAIMED | PADDING]),
        st.sampled_from([0, 0, 0, 1, 8, 90]),
        st.sampled_from([1, 1, 2, 3, 70, 700]),
    ),
    max_size=12,
)


def frames_in(rows: list[tuple[int, int, int, int]]) -> list[Frame]:
    found: list[Frame] = []
    for kind, flags, payload_bytes, count in rows:
        for _ in range(count if payload_bytes == 0 else 1):
            number = len(found) + 1
            payload = bytes(payload_bytes)
            found.append(Frame(kind, flags, number, -number, 1.5, 7, number / 2, payload))
    return found


def walked(data: bytes, source: Source, sequence: int = 0) -> Walk:
    """One walk after the other, to the end."""
    frames, at, lost = [], 0, 0
    while True:
        found = walk(
            data,
            sequence,
            source,
            available=len(data),
            max_frame_bytes=MAX_FRAME_BYTES,
            begin=at,
        )
        assert len(found.frames) <= MAX_FRAMES
        scalar_count = sum(len(part) for part in found.frames if isinstance(part, ScalarFrames))
        assert scalar_count <= MAX_SCALARS
        frames += found.frames
        at, sequence, lost = at + found.size_bytes, found.sequence, lost + found.lost
        if found.why or found.padding_bytes or not found.size_bytes or at == len(data):
            return found._replace(frames=frames, size_bytes=at, lost=lost)


def ends_a_ring(frame: Frame) -> bool:
    return frame.kind == FrameKind.UNFINISHED


def aborted(frame: Frame) -> Frame:
    return frame._replace(kind=FrameKind.ABORTED, flags=0, value=0.0, payload=LOST.encode())


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_a_message_holds_what_is_decoded_one_by_one(rows: list[tuple[int, int, int, int]]) -> None:
    frames = frames_in(rows)
    data = b"".join(map(encode, frames))
    found = walk_message(data, 0)
    assert frames_of(found) == frames
    # Scalars in a row are one, and nothing else is among them.
    for before, after in itertools.pairwise(found):
        assert isinstance(before, Frame) or isinstance(after, Frame)
    for part in found:
        is_scalar = isinstance(part, ScalarFrames)
        for frame in frames_of([part]):
            assert is_scalar == (frame.kind == FrameKind.SCALAR and not frame.payload)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from([Source.RING, Source.REMAINS]))
def test_a_ring_ends_at_what_is_not_finished(
    rows: list[tuple[int, int, int, int]], source: Source
) -> None:
    frames = frames_in(rows)
    data = b"".join(map(encode, frames))
    found = walked(data, source)
    expected = frames
    for at, frame in enumerate(frames):
        if ends_a_ring(frame):
            expected = frames[:at]
            is_padding = frame.flags == PADDING
            assert found.padding_bytes == (len(encode(frame)) if is_padding else 0)
            assert bool(found.why) != is_padding
            break
    else:
        assert (found.why, found.padding_bytes) == ("", 0)
    assert found.size_bytes == sum(len(encode(frame)) for frame in expected)
    assert found.sequence == len(expected)
    claimed = [frame for frame in expected if frame.flags == CLAIMED]
    if source is Source.REMAINS:
        assert found.lost == len(claimed)
        expected = [aborted(frame) if frame in claimed else frame for frame in expected]
    else:
        assert found.lost == 0
    assert frames_of(found.frames) == expected


@pytest.mark.parametrize("gap", [1, 2, 64, 65, 66, 577, 999])
@pytest.mark.parametrize("source", [Source.MESSAGE, Source.RING, Source.REMAINS])
def test_a_gap_is_found_wherever_it_is(gap: int, source: Source) -> None:
    data = scalars(1, gap) + scalars(gap + 2, 1000 - gap)
    found = walked(data, source)
    assert (found.sequence, found.size_bytes) == (gap, gap * HEADER_BYTES)
    assert found.why == f"record {gap + 2}, expected {gap + 1}"
    assert bytes_of(found.frames) == scalars(1, gap)
    with pytest.raises(FrameError, match=f"record {gap + 2}, expected {gap + 1}"):
        walk_message(data, 0)


@pytest.mark.parametrize("cut", [1, 8, 30, 47, 49, 90])
@pytest.mark.parametrize("source", Source)
def test_a_frame_that_is_cut_off_ends_the_walk(cut: int, source: Source) -> None:
    data = scalars(1, 20) + encode(Frame(FrameKind.SUMMARY, 0, 21, 0, 1.0, 1, 0.0, bytes(43)))
    found = walked(data[:-cut], source)
    assert (found.sequence, found.size_bytes) == (20, 20 * HEADER_BYTES)
    assert found.why
    with pytest.raises(FrameError, match="frame at offset 960"):
        walk_message(data[:-cut], 0)


@pytest.mark.parametrize("first", [0, 7, 2**64 - 1])
def test_a_message_goes_on_where_the_last_one_ended_or_before(first: int) -> None:
    assert frames_of(walk_message(scalars(3, 5), 5)) == list(decode(scalars(3, 5)))
    with pytest.raises(FrameError, match=f"record {first}, expected 6"):
        walk_message(scalar(first, step=0), 5)


def test_no_look_at_each_of_many_scalars(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Header:
        """Counts the headers that are decoded."""

        def unpack_from(self, data: bytes, at: int = 0) -> tuple[object, ...]:
            looks.append(at)
            return header.unpack_from(data, at)

    header = walker.HEADER
    monkeypatch.setattr(walker, "HEADER", Header())
    found = walked(scalars(1, 2000) + end_run(2001) + scalars(2002, 2999), Source.RING)
    assert [len(part) for part in found.frames if isinstance(part, ScalarFrames)] == [2000, 2999]
    assert len(looks) == 3


@settings(max_examples=100, deadline=None)
@given(ROWS, st.sets(st.integers(0, 60)), st.integers(0, 5))
def test_between_sparse_frames_any_may_be_missing(
    rows: list[tuple[int, int, int, int]], missing: set[int], received: int
) -> None:
    frames = [frame for at, frame in enumerate(frames_in(rows)) if at not in missing]
    data = b"".join(map(encode, frames))
    assert frames_of(walk_message(data, received, is_sparse=True)) == frames


@pytest.mark.parametrize("sequences", [(2, 1), (1, 1), (1, 2, 3, 2)])
def test_sparse_frames_rise(sequences: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="expected"):
        walk_message(b"".join(map(scalar, sequences)), 0, is_sparse=True)
