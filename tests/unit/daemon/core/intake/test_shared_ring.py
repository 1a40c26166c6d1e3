"""The reader of a shared ring, against a ring that is written as a client does it."""

from __future__ import annotations

import random
import struct

import pytest
from boardd.core.errors import RequestError
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.core.intake.walker import LOST
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import CLAIMED, HEADER, Frame, FrameError, FrameKind, decode, encode
from boardd_protos.log_file import LogWords
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import scalar, scalars, summary
from support.ring_memory import RingMemory
from support.shared_client import FrameWriter
from support.walked import bytes_of

RING_BYTES = 1 << 12
LIMIT_BYTES = 1 << 20
#: Larger than any frame of these tests.
MAX_FRAME_BYTES = 1 << 16


def ring_of(size_bytes: int = RING_BYTES) -> tuple[memoryview, FrameWriter, SharedRing]:
    memory = memoryview(bytearray(size_bytes))
    return memory, FrameWriter(memory), SharedRing(RingMemory(memory), 0, 0, MAX_FRAME_BYTES)


def frame(
    sequence: int, payload_bytes: int, *, kind: int = FrameKind.SUMMARY, flags: int = 0
) -> bytes:
    return encode(Frame(kind, flags, sequence, 3, 1e9, 1, 0.0, bytes(payload_bytes)))


def taken(reader: SharedRing, found: RingFrames) -> bytes:
    reader.advance(found)
    return bytes_of(found.frames)


def all_committed(reader: SharedRing, limit_bytes: int = LIMIT_BYTES) -> bytes:
    frames = b""
    while reader.has_more:
        frames += taken(reader, reader.read(limit_bytes))
    return frames


def all_left(reader: SharedRing, limit_bytes: int = LIMIT_BYTES) -> tuple[bytes, int]:
    """Frames, and how many were lost."""
    frames, lost = b"", 0
    while (found := reader.salvage(limit_bytes)).position != reader.position:
        frames += taken(reader, found)
        lost += found.lost
    return frames, lost


# A living client


def test_only_what_is_committed_is_read() -> None:
    _, ring, reader = ring_of()
    ring.append(scalars(1, 3))
    assert not reader.has_more
    reader.commit(3, ring.position)
    ring.append(scalar(4))
    assert all_committed(reader) == scalars(1, 3)
    assert (reader.sequence, reader.position) == (3, 144)


def test_reading_takes_nothing_until_it_advances() -> None:
    _, ring, reader = ring_of()
    ring.append(scalars(1, 3))
    reader.commit(3, ring.position)
    first, again = reader.read(LIMIT_BYTES), reader.read(LIMIT_BYTES)
    assert bytes_of(first.frames) == bytes_of(again.frames) == scalars(1, 3)
    assert first.position == again.position == ring.position
    assert reader.position == 0


@pytest.mark.parametrize("limit_bytes", [1, 48, 100, 1000, LIMIT_BYTES])
@pytest.mark.parametrize("ring_bytes", [600, 608, 1000, RING_BYTES])
def test_frames_come_out_as_they_went_in_whatever_the_sizes(
    ring_bytes: int, limit_bytes: int
) -> None:
    generator = random.Random(ring_bytes)
    _, ring, reader = ring_of(ring_bytes)
    written = read = b""
    sequence = 0
    for _ in range(300):
        while ring.position - reader.position < ring_bytes // 4:
            sequence += 1
            one = generator.choice(
                [scalar(sequence), scalar(sequence), frame(sequence, generator.randrange(90))]
            )
            ring.append(one)
            written += one
        reader.commit(ring.sequence, ring.position)
        read += all_committed(reader, limit_bytes)
    assert read == written
    assert reader.position > 20 * ring_bytes


def test_a_commit_may_include_the_padding_or_not() -> None:
    _, ring, reader = ring_of(RING_BYTES)
    count = RING_BYTES // 48
    ring.append(scalars(1, count))
    end = ring.position
    assert 0 < RING_BYTES - end < 48
    reader.commit(count, end)
    assert all_committed(reader) == scalars(1, count)
    ring.fill(RING_BYTES - end)
    reader.commit(count, RING_BYTES)
    assert all_committed(reader) == b""
    ring.append(scalar(count + 1))
    reader.commit(count + 1, ring.position)
    assert all_committed(reader) == scalar(count + 1)


def test_a_frame_larger_than_the_limit_is_read_alone() -> None:
    _, ring, reader = ring_of()
    ring.append(scalar(1), frame(2, 1000), scalar(3))
    reader.commit(3, ring.position)
    assert taken(reader, reader.read(100)) == scalar(1)
    assert taken(reader, reader.read(100)) == frame(2, 1000)
    assert taken(reader, reader.read(100)) == scalar(3)


def test_reading_begins_in_the_middle() -> None:
    memory, ring, _ = ring_of()
    ring.append(scalars(1, 10))
    reader = SharedRing(RingMemory(memory), 4, 4 * 48, MAX_FRAME_BYTES)
    reader.commit(10, ring.position)
    assert all_committed(reader) == scalars(5, 6)


@pytest.mark.parametrize(
    ("sequence", "position", "text"),
    [
        (3, 144, "before record 5"),
        (5, 239, "no multiple of 8"),
        (4, 240, "before record 5"),
        (6, 200, "before record 5"),
        (500, 240 + RING_BYTES + 8, "the ring has 4096 bytes"),
    ],
)
def test_a_commit_that_cannot_be_is_refused(sequence: int, position: int, text: str) -> None:
    _, ring, reader = ring_of()
    ring.append(scalars(1, 5))
    reader.commit(5, ring.position)
    reader.advance(reader.read(LIMIT_BYTES))
    with pytest.raises(RequestError, match=text):
        reader.commit(sequence, position)
    assert not reader.has_more


def test_a_position_between_words_is_refused() -> None:
    with pytest.raises(RequestError, match="position 12"):
        SharedRing(RingMemory(bytes(96)), 0, 12, MAX_FRAME_BYTES)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (scalar(7), "record 7, expected 2"),
        (bytes(48), "a frame that is not finished"),
        (scalar(2)[:4] + b"\0" + scalar(2)[5:], "a frame that is not finished"),
        (struct.pack("<I", 56) + scalar(2)[4:], "record 2 has 56 bytes, its payload 0"),
        (struct.pack("<I", 40) + scalar(2)[4:], "record 2 has 40 bytes, its payload 0"),
        (frame(2, 1000)[:48], "record 2 has 1048 bytes, its payload 1000, and 48 are left"),
        (struct.pack("<IBBxx", 48, 0, 2) + scalar(2)[8:], "padding of 48 bytes"),
        (struct.pack("<IBBxx", RING_BYTES - 48, 0, 2) + bytes(40), "padding of 4048 bytes"),
    ],
)
def test_what_is_no_frame_ends_the_reading_behind_the_last_one(second: bytes, text: str) -> None:
    _, ring, reader = ring_of()
    ring.append(scalar(1))
    ring.put(second)
    reader.commit(2, ring.position + len(second))
    assert taken(reader, reader.read(LIMIT_BYTES)) == scalar(1)
    with pytest.raises(FrameError, match=f"position 48: {text}"):
        reader.read(LIMIT_BYTES)


def test_too_large_a_frame_is_refused() -> None:
    memory, ring, _ = ring_of()
    ring.append(frame(1, 2000))
    reader = SharedRing(RingMemory(memory), 0, 0, 1024)
    reader.commit(1, ring.position)
    with pytest.raises(FrameError, match="2048 bytes; at most 1024"):
        reader.read(LIMIT_BYTES)


@pytest.mark.parametrize("sequence", [2, 4])
def test_a_commit_whose_sequence_is_another_is_refused(sequence: int) -> None:
    _, ring, reader = ring_of()
    ring.append(scalars(1, 3))
    reader.commit(sequence, ring.position)
    with pytest.raises(FrameError, match=f"record 3 ends at position 144, where record {sequence}"):
        reader.read(LIMIT_BYTES)


# A dead client


def test_what_a_dead_client_left_is_read_to_the_last_whole_frame() -> None:
    _, ring, reader = ring_of()
    ring.append(scalars(1, 5))
    reader.commit(2, 96)
    unfinished = bytearray(scalar(6))
    unfinished[4] = FrameKind.UNFINISHED
    ring.put(bytes(unfinished))
    assert all_committed(reader) == scalars(1, 2)
    assert all_left(reader) == (scalars(3, 3), 0)


@pytest.mark.parametrize("laps", [0, 1, 2, 7])
@pytest.mark.parametrize("limit_bytes", [48, 500, LIMIT_BYTES])
def test_frames_of_earlier_laps_are_not_taken_for_new_ones(laps: int, limit_bytes: int) -> None:
    generator = random.Random(laps)
    _, ring, reader = ring_of()
    sequence = 0
    while ring.position < laps * RING_BYTES:
        sequence += 1
        ring.append(frame(sequence, generator.randrange(90)))
        reader.commit(sequence, ring.position)
        all_committed(reader)
    left = b""
    while ring.position - reader.position < RING_BYTES - 300:
        sequence += 1
        left += (one := frame(sequence, generator.randrange(90)))
        ring.append(one)
    assert all_left(reader, limit_bytes) == (left, 0)


def test_frames_without_their_values_are_aborted() -> None:
    _, ring, reader = ring_of()
    ring.append(
        scalar(1),
        frame(2, 100, flags=CLAIMED),
        scalar(3),
        frame(4, 0, flags=CLAIMED, kind=FrameKind.SCALAR),
        frame(5, 7, flags=CLAIMED),
        frame(6, 10),
    )
    frames, lost = all_left(reader)
    assert lost == 3
    found = list(decode(frames))
    kinds = [
        FrameKind.SCALAR,
        FrameKind.ABORTED,
        FrameKind.SCALAR,
        FrameKind.ABORTED,
        FrameKind.ABORTED,
        FrameKind.SUMMARY,
    ]
    assert [one.kind for one in found] == kinds
    assert [one.sequence for one in found] == [1, 2, 3, 4, 5, 6]
    assert {one.flags for one in found} == {0}
    assert {one.payload.decode() for one in found if one.kind == FrameKind.ABORTED} == {LOST}
    assert encode(found[-1]) == frame(6, 10)


def test_an_endless_ring_has_an_end() -> None:
    """Whoever goes on writing, as no dead client does, is heard for one lap more."""
    _, ring, reader = ring_of(960)
    ring.append(scalars(1, 10))
    last = 0
    while (found := reader.salvage(100)).position != reader.position:
        reader.advance(found)
        last = found.sequence
        ring.append(scalar(ring.sequence + 1), scalar(ring.sequence + 2))
    assert last == 20


def at_tail(memory: memoryview, freed: int, tail: int, received: int = 0) -> SharedRing:
    return SharedRing.at_tail(
        RingMemory(memory), LogWords(freed, tail, 0), received, MAX_FRAME_BYTES
    )


@pytest.mark.parametrize("laps", [0, 1, 3])
@pytest.mark.parametrize("limit_bytes", [48, 500, LIMIT_BYTES])
def test_the_tail_is_where_to_begin(laps: int, limit_bytes: int) -> None:
    """Whatever is freed, of the whole ring as of none of it."""
    generator = random.Random(laps)
    memory, ring, _ = ring_of()
    ends, written = [0], [b""]
    while ring.position < laps * RING_BYTES + 2000:
        written.append(frame(len(written), generator.randrange(90)))
        ring.append(written[-1])
        ends.append(ring.position)
    oldest = next(at for at, end in enumerate(ends) if end > ring.position - RING_BYTES + 200)
    for freed in range(oldest if laps else 0, len(written)):
        expected = b"".join(written[freed + 1 :])
        assert all_left(at_tail(memory, freed, ends[freed]), limit_bytes) == (expected, 0)
        # Its client was killed between its two stores.
        before = max(freed - 3, oldest if laps else 0)
        assert all_left(at_tail(memory, freed, ends[before]), limit_bytes) == (expected, 0)
        # A daemon has received more of it over a stream.
        received = min(freed + 2, len(written) - 1)
        expected = b"".join(written[received + 1 :])
        assert all_left(at_tail(memory, freed, ends[freed], received)) == (expected, 0)


def test_what_is_known_of_scalars_in_a_row_is_passed_over() -> None:
    memory, ring, _ = ring_of()
    ring.append(scalars(1, 20))
    assert all_left(at_tail(memory, 5, 0)) == (scalars(6, 15), 0)


def test_a_frame_too_new_for_the_tail_is_not_believed() -> None:
    memory, ring, _ = ring_of()
    ring.append(scalars(7, 3))
    assert all_left(at_tail(memory, 5, 0)) == (b"", 0)


def test_an_empty_ring_holds_nothing() -> None:
    _, _, reader = ring_of()
    assert all_left(reader) == (b"", 0)


# Hostile bytes


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(min_size=96, max_size=400),
    headers=st.lists(
        st.tuples(
            st.integers(0, 45).map(lambda number: 8 * number),
            st.sampled_from([0, 8, 40, 48, 56, 96, 2**31, 2**32 - 1]),
            st.integers(0, 7),
            st.integers(0, 3),
            st.integers(0, 4),
            st.sampled_from([0, 1, 8, 48, 2**32 - 1]),
        ),
        max_size=8,
    ),
    start=st.integers(0, 60).map(lambda number: 8 * number),
    limit_bytes=st.integers(48, 500),
)
def test_whatever_the_ring_holds_only_whole_frames_come_out(
    data: bytes, headers: list[tuple[int, ...]], start: int, limit_bytes: int
) -> None:
    memory = bytearray(data[: len(data) // 8 * 8])
    for offset, size_bytes, kind, flags, sequence, payload_bytes in headers:
        header = HEADER.pack(size_bytes, kind, flags, 0, sequence, 0, 0.0, 0, payload_bytes, 0.0)
        memory[offset : offset + len(header)] = header[: max(0, len(memory) - offset)]
    living = SharedRing(RingMemory(memory), 0, start, MAX_FRAME_BYTES)
    living.commit(10, start + len(memory))
    frames = b""
    try:
        for _ in range(100):
            if not living.has_more:
                break
            found = living.read(limit_bytes)
            assert found.position > living.position
            frames += taken(living, found)
    except FrameError:
        pass
    dead = SharedRing(RingMemory(memory), 0, start, MAX_FRAME_BYTES)
    left, _ = all_left(dead, limit_bytes)
    for found in (frames, left):
        sequences = [one.sequence for one in decode(found)]
        assert sequences == list(range(1, len(sequences) + 1))
    assert start <= dead.position <= start + len(memory)


def test_a_summary_is_only_a_frame_to_it() -> None:
    _, ring, reader = ring_of()
    one = summary(1, pb.Payload(text=pb.Text(markdown="x")))
    ring.append(one)
    assert all_left(reader) == (one, 0)
