"""Which way a commit may go."""

from __future__ import annotations

from boardd_client.session.commit_way import CommitWay
from boardd_protos import boardd_pb2 as pb

DEFINITIONS = pb.ClientMessage(definitions=pb.Definitions())


def committed(sequence: int) -> pb.ClientMessage:
    return pb.ClientMessage(committed=pb.LogPosition(sequence=sequence, position=48 * sequence))


def begun(*, is_offered: bool = True) -> CommitWay:
    """One whose stream has brought definitions and the commit of record 5."""
    way = CommitWay()
    way.begin(is_offered=is_offered)
    assert not way.is_short([DEFINITIONS, committed(5)], 0)
    way.streamed(DEFINITIONS)
    way.streamed(committed(5))
    return way


def test_a_commit_goes_the_short_way_once_all_on_the_stream_is_read() -> None:
    way = begun()
    assert not way.is_short([committed(6)], 4)
    assert way.is_short([committed(6)], 5)
    assert way.is_short([committed(7)], 5)


def test_definitions_and_what_follows_them_go_over_the_stream() -> None:
    way = begun()
    assert not way.is_short([DEFINITIONS, committed(6)], 5)
    way.streamed(DEFINITIONS)
    assert not way.is_short([committed(6)], 5)
    way.streamed(committed(6))
    assert not way.is_short([committed(7)], 5)
    assert way.is_short([committed(7)], 6)


def test_a_new_stream_begins_anew() -> None:
    way = begun()
    way.begin(is_offered=True)
    assert not way.is_short([committed(6)], 5)


def test_who_offers_no_short_way_gets_all_over_the_stream() -> None:
    assert not begun(is_offered=False).is_short([committed(6)], 5)
