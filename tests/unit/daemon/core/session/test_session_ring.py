"""Where a session's ring is read on, whatever became of streams and handovers."""

from __future__ import annotations

import pytest
from boardd.core.errors import RequestError
from boardd.core.session.session_ring import SessionRing

RING = memoryview(bytes(4096))


def test_a_new_session_is_read_from_the_first_byte() -> None:
    ring = SessionRing(1024)
    ring.hand_over(RING, received_sequence=0)
    assert ring.reading is not None
    assert (ring.reading.sequence, ring.reading.position) == (0, 0)


def test_a_session_that_another_daemon_served_waits_for_a_position() -> None:
    ring = SessionRing(1024)
    ring.hand_over(RING, received_sequence=10)
    assert ring.reading is None
    assert ring.committed_sequence(10) == 10
    ring.attach(RING, sequence=8, position=96)
    assert ring.reading is not None
    assert (ring.reading.sequence, ring.reading.position) == (8, 96)


def test_a_new_handover_goes_on_where_the_ring_was_read() -> None:
    ring = SessionRing(1024)
    ring.hand_over(RING, received_sequence=0)
    ring.attach(RING, sequence=3, position=144)
    ring.hand_over(memoryview(bytes(4096)), received_sequence=5)
    assert ring.reading is not None
    assert (ring.reading.sequence, ring.reading.position) == (3, 144)


def test_what_is_committed_counts_as_handed_in() -> None:
    ring = SessionRing(1024)
    ring.hand_over(RING, received_sequence=0)
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
    view: memoryview | None, sequence: int, position: int, message: str
) -> None:
    ring = SessionRing(1024)
    ring.attach(RING, sequence=2, position=96)
    before = ring.reading
    with pytest.raises(RequestError, match=message):
        ring.attach(view, sequence, position)
    assert ring.reading is before
