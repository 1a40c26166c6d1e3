"""Where a session's ring is read on, whatever became of streams and handovers."""

from __future__ import annotations

import pytest
from boardd.core.errors import RequestError
from boardd.core.session.session_ring import SessionRing
from boardd_protos.log_file import LogWords
from support.raw_client import scalar, scalars
from support.ring_memory import RingMemory
from support.shared_client import FrameWriter

RING = RingMemory(bytes(4096))


def test_without_a_stream_nothing_is_read() -> None:
    ring = SessionRing(1024)
    assert ring.reading is None
    assert ring.committed_sequence(10) == 10
    ring.attach(RING, sequence=8, position=96)
    assert ring.reading is not None
    assert (ring.reading.sequence, ring.reading.position) == (8, 96)


def test_salvage_goes_on_where_the_ring_was_read_or_begins_at_its_tail() -> None:
    ring = SessionRing(1024)
    words = LogWords(2, 96, 0)
    ring.attach(RING, sequence=3, position=144)
    reading = ring.salvage(RING, words, 3)
    assert (reading.sequence, reading.position) == (3, 144)
    assert ring.reading is reading
    ring.let_go()
    reading = ring.salvage(RING, words, 2)
    assert reading.position == 96
    assert ring.salvage(RING, words, 2) is reading


def test_remains_are_what_was_not_read() -> None:
    memory = memoryview(bytearray(4096))
    writer = FrameWriter(memory)
    writer.append(scalars(1, 3))
    ring = SessionRing(1024)
    assert not ring.has_remains
    reading = ring.salvage(RingMemory(memory), LogWords(0, 0, 0), 0)
    reading.advance(reading.salvage(1 << 20))
    assert not ring.has_remains
    writer.append(scalar(4))
    assert ring.has_remains


def test_what_is_committed_counts_as_handed_in() -> None:
    ring = SessionRing(1024)
    ring.attach(RING, sequence=0, position=0)
    assert ring.reading is not None
    ring.reading.commit(7, 336)
    assert ring.committed_sequence(5) == 7
    assert ring.committed_sequence(9) == 9, "by value the rest may come, too"
    ring.let_go()
    assert ring.committed_sequence(5) == 5


@pytest.mark.parametrize(
    ("view", "sequence", "position", "message"),
    [
        (None, 0, 0, "no ring is shared"),
        (RING, 5, 4, "no multiple of 8"),
    ],
)
def test_a_place_that_cannot_be_read_changes_nothing(
    view: RingMemory | None, sequence: int, position: int, message: str
) -> None:
    ring = SessionRing(1024)
    ring.attach(RING, sequence=2, position=96)
    before = ring.reading
    with pytest.raises(RequestError, match=message):
        ring.attach(view, sequence, position)
    assert ring.reading is before
