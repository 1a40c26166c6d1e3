"""A session whose log the daemon reads itself."""

from __future__ import annotations

import pytest
from boardd_client.memory.arena import Arena
from boardd_client.memory.maps import LargeTensors
from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos import frame as framing
from boardd_protos.frame import HEADER_BYTES
from support.client_session import (
    SESSION_ID,
    Copy,
    balance,
    claim,
    define,
    log_scalars,
    log_tensor,
)
from support.ring_memory import LogMemory

ARENA_OFFSET = 4096
DEFINITIONS_BYTES = 1 << 12
OPENED = pb.OpenReply()


def make_session(large_bytes: int = 1 << 20, log: LogMemory | None = None) -> Session:
    """A session over plain memory that says it is shared."""
    return Session(
        SESSION_ID,
        Ring(memoryview(bytearray(1 << 16)), reserve_bytes=1 << 14),
        Arena(memoryview(bytearray(1 << 16)), reserve_bytes=1 << 10),
        arena_offset=ARENA_OFFSET,
        large=LargeTensors(large_bytes, is_shared=False),
        definitions=log.kept if log is not None else None,
    )


def committed(session: Session) -> list[tuple[int, int]]:
    """The places up to which the daemon is told that it may read."""
    return [
        (message.committed.sequence, message.committed.position)
        for message in session.next_messages()
        if message.HasField("committed")
    ]


def frames(session: Session, after: int = 0) -> list[framing.Frame]:
    """The frames in the log that may be read."""
    return list(framing.decode(session.ring.read(after, 1 << 40, 1 << 30)[0]))


def test_the_stream_is_attached_where_the_daemon_is_to_read_on() -> None:
    session = make_session()
    _, series = define(session)
    log_scalars(session, series, 3)
    session.opened(OPENED, is_shared=True)
    assert session.attachment().log_from == pb.LogPosition(sequence=0, position=0)
    committed(session)
    session.disconnected()
    session.opened(pb.OpenReply(received_sequence=2, written_sequence=1), is_shared=True)
    last = frames(session, 1)
    assert [frame.sequence for frame in last] == [2, 3]
    assert session.attachment().log_from == pb.LogPosition(
        sequence=2, position=session.ring.position_after(2)
    )
    assert session.ring.position_after(3) == session.ring.position_after(2) + HEADER_BYTES


def test_records_are_committed_and_not_sent() -> None:
    session = make_session()
    session.opened(OPENED, is_shared=True)
    _, series = define(session)
    log_scalars(session, series, 3)
    log_tensor(session, series, b"x" * 1000)
    kinds = [message.WhichOneof("message") for message in session.next_messages()]
    assert kinds == ["definitions", "committed"]
    assert session.next_messages() == []
    assert session.statistics().transport == "shared"
    assert session.statistics().sent_bytes == 0


def test_nothing_is_committed_behind_what_is_still_being_copied() -> None:
    session = make_session()
    session.opened(OPENED, is_shared=True)
    _, series = define(session)
    log_scalars(session, series, 2)
    before = session.ring.last_sequence
    capture = claim(session, series, b"x" * 8)
    session.copies_started(capture, [Copy()])
    log_scalars(session, series, 2)
    assert committed(session) == [(before, session.ring.position_after(before))]
    assert committed(session) == []
    session.commit(capture)
    last = session.ring.last_sequence
    assert committed(session) == [(last, session.ring.position_after(last))]


def test_a_record_says_where_its_tensors_lie() -> None:
    session = make_session()
    _, series = define(session)
    log_tensor(session, series, b"x" * 100)
    given = pb.Payload(text=pb.Text(markdown="m")).SerializeToString()
    session.copies_started(claim(session, series, b"y" * 10, given), [])
    payload = pb.Payload.FromString(frames(session)[-1].payload)
    assert payload.text.markdown == "m"
    assert list(payload.slots) == [pb.Slot(map=0, offset=ARENA_OFFSET + 128, size_bytes=10)]


def test_a_tensor_larger_than_the_arena_lies_in_a_map_of_its_own() -> None:
    session = make_session()
    _, series = define(session)
    capture = session.claim(series, 0, 1.0, b"", [100_000, 8])
    assert isinstance(capture, Capture)
    assert [slot.map_number for slot in capture.slots] == [1, 0]
    session.copies_started(capture, [])
    payload = pb.Payload.FromString(frames(session)[-1].payload)
    assert payload.slots[0] == pb.Slot(map=1, offset=0, size_bytes=100_000)
    assert payload.slots[1].map == 0


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([2 << 20], "tensor_too_large"),
        ([1 << 20], "large_full"),
        ([600_000] * 2, "tensor_too_large"),
    ],
)
def test_a_tensor_that_finds_no_room_is_never_cut(sizes: list[int], reason: str) -> None:
    session = make_session()
    _, series = define(session)
    held = session.claim(series, 0, 1.0, b"", [900_000])
    assert not isinstance(held, str)
    before = session.ring.last_sequence
    assert session.claim(series, 0, 1.0, b"", sizes) == reason
    assert session.ring.last_sequence == before
    assert session.arena.used_bytes == 0


def test_the_map_of_a_written_record_is_free_again() -> None:
    session = make_session()
    session.opened(OPENED, is_shared=True)
    _, series = define(session)
    for _ in range(3):
        capture = session.claim(series, 0, 1.0, b"", [900_000])
        assert isinstance(capture, Capture)
        session.copies_started(capture, [])
        committed(session)
        session.acknowledged(pb.Acknowledged(written_sequence=session.ring.last_sequence))
    balance(session)


def test_definitions_lie_in_the_log_too() -> None:
    log = LogMemory(1 << 12, DEFINITIONS_BYTES)
    session = make_session(log=log)
    run, series = define(session)
    found = pb.Definitions()
    for entry in log.definitions(0)[0]:
        found.MergeFromString(entry)
    assert [definition.run for definition in found.runs] == [run.number]
    assert [definition.series for definition in found.series] == [series]
    assert not session.ring.last_sequence


def test_a_definition_without_room_in_the_log_is_told_all_the_same() -> None:
    log = LogMemory(1 << 12, DEFINITIONS_BYTES)
    session = make_session(log=log)
    run, _ = define(session)
    before = log.definitions(0)
    long = session.define_series(run, "x" * DEFINITIONS_BYTES)
    assert log.definitions(0) == before
    short = session.define_series(run, "short")
    assert len(log.definitions(0)[0]) == len(before[0]) + 1
    session.opened(OPENED, is_shared=True)
    (message,) = session.next_messages()
    assert {one.series for one in message.definitions.series} >= {long, short}


def test_records_are_counted() -> None:
    session = make_session()
    _, series = define(session)
    session.opened(OPENED, is_shared=True)
    log_scalars(session, series, 2)
    committed(session)
    session.acknowledged(pb.Acknowledged(written_sequence=session.ring.last_sequence))
    counts = session.statistics()
    assert (counts.accepted, counts.written, counts.pending) == (2, 2, 0)
