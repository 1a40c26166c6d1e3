"""What a session sends, in which order, and what it frees."""

from __future__ import annotations

import numpy as np
import pytest
from boardd_client.session.schema import MAX_SERIES
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.client_session import (
    Daemon,
    claim,
    define,
    log_scalars,
    log_tensor,
    make_session,
)


def test_nothing_is_sent_before_the_session_is_open() -> None:
    session = make_session()
    log_scalars(session, define(session)[1], 3)
    assert session.next_messages() == []


def test_definitions_come_first_and_only_once() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    messages = session.next_messages()
    assert [message.WhichOneof("message") for message in messages] == ["definitions", "records"]
    assert session.next_messages() == []
    log_scalars(session, series, 1)
    messages = session.next_messages()
    assert [message.WhichOneof("message") for message in messages] == ["records"]


def test_many_definitions_travel_in_modest_messages() -> None:
    session, daemon = make_session(), Daemon()
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    for number in range(2000):
        session.define_series(run, f"{number:04d}" + "x" * 1020)
    daemon.open(session)
    daemon.take_all(session)
    assert len(daemon.series) == 2000
    assert max(daemon.message_bytes) < 1 << 20


def test_series_have_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardd_client.session.schema.MAX_SERIES", 3)
    session = make_session()
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    assert [bool(session.define_series(run, str(number))) for number in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert MAX_SERIES > 10_000


def test_records_and_tensors_arrive_whole_and_in_order_in_helpings_of_any_size() -> None:
    rng = np.random.default_rng(0)
    for max_bytes in (100, 1000, 1 << 20):
        session, daemon = make_session(1 << 18, 1 << 20), Daemon()
        _, series = define(session)
        daemon.open(session)
        tensors = {}
        for _ in range(20):
            log_scalars(session, series, int(rng.integers(0, 5)))
            data = rng.bytes(int(rng.choice([0, 1, 999, 20_000])))
            log_tensor(session, series, data)
            tensors[session.ring.last_sequence] = data
        daemon.take_all(session, max_bytes)
        assert daemon.received == session.ring.last_sequence
        for sequence, data in tensors.items():
            assert daemon.tensors.get(sequence, [b""]) == [data]
        assert max(daemon.message_bytes) < max(max_bytes, 100) + 100


def test_no_message_is_larger_than_a_mebibyte_or_than_the_daemon_takes() -> None:
    for limit, largest in ((0, 1 << 20), (64 << 10, 64 << 10)):
        session = make_session(1 << 22, 1 << 23)
        daemon = Daemon(max_message_bytes=limit)
        _, series = define(session)
        daemon.open(session)
        log_scalars(session, series, 50_000)
        log_tensor(session, series, bytes(3 << 20))
        daemon.take_all(session, 1 << 30)
        assert daemon.received == 50_001
        assert largest / 2 < max(daemon.message_bytes) < largest + 100


def test_acknowledged_records_and_their_tensors_are_freed() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_tensor(session, series, b"x" * 1000)
    log_scalars(session, series, 2)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=1))
    counts = session.statistics()
    assert (counts.written, counts.pending, counts.arena_used_bytes) == (1, 2, 0)
    assert counts.log_used_bytes == 96
    assert not session.is_drained
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    session.acknowledged(pb.Acknowledged(written_sequence=2))  # late, and of no consequence
    assert session.is_drained
    assert session.statistics().log_used_bytes == 0


def test_an_acknowledgement_of_what_was_never_sent_frees_nothing() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    assert session.statistics().pending == 3
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=1 << 60))
    log_scalars(session, series, 1)
    assert session.statistics().pending == 1


def test_after_a_reconnect_the_daemon_gets_definitions_and_what_it_lacks() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 10)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=4))
    session.disconnected()
    assert session.next_messages() == []
    assert session.open_request("host", 1, "train.py").acknowledged_sequence == 4
    again = Daemon(received=7)
    again.open(session, written=6)
    again.take_all(session)
    assert [frame.sequence for frame in again.frames] == [8, 9, 10]
    assert list(again.series) == [series]
    assert session.statistics().written == 6


def test_a_tensor_cut_off_in_the_middle_is_sent_again_from_its_start() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    data = bytes(range(250)) * 40
    log_tensor(session, series, data)
    daemon.take(session, 3000)
    assert len(daemon.tensors[1][0]) == 3000
    session.disconnected()
    daemon.open(session)
    daemon.take_all(session, 3000)
    assert daemon.tensors == {1: [data]}
    assert daemon.received == 1


def test_a_daemon_that_claims_more_than_was_sent_is_not_believed() -> None:
    session = make_session()
    _, series = define(session)
    log_scalars(session, series, 5)
    daemon = Daemon()
    session.opened(pb.OpenReply(received_sequence=99, written_sequence=99))
    daemon.take_all(session)
    assert daemon.received == 5
    assert session.statistics().pending == 5


def test_the_window_stops_sending_until_something_is_acknowledged() -> None:
    session, daemon = make_session(window_bytes=4800), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 500)
    daemon.take_all(session, 480)
    assert daemon.received == 100
    assert session.is_window_full
    session.acknowledged(pb.Acknowledged(written_sequence=50))
    daemon.take_all(session, 480)
    assert daemon.received == 150


def test_a_tensor_larger_than_the_window_is_sent_all_the_same() -> None:
    session, daemon = make_session(window_bytes=1000), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_tensor(session, series, bytes(10_000))
    log_scalars(session, series, 1)
    daemon.take_all(session, 500)
    assert daemon.received == 1
    session.acknowledged(pb.Acknowledged(written_sequence=1))
    daemon.take_all(session, 500)
    assert daemon.received == 2


def test_a_tensor_larger_than_the_daemon_takes_is_rejected_here() -> None:
    session, daemon = make_session(), Daemon(max_tensor_bytes=1000)
    run, series = define(session)
    daemon.open(session)
    log_tensor(session, series, bytes(1001))
    log_tensor(session, series, bytes(1000))
    daemon.take_all(session)
    assert [frame.kind for frame in daemon.frames] == [FrameKind.ABORTED, FrameKind.SUMMARY]
    session.acknowledged(pb.Acknowledged(written_sequence=2))
    assert dict(session.statistics().rejected) == {"TENSOR_TOO_LARGE": 1}
    assert run.last_rejection == "TENSOR_TOO_LARGE: 1001 bytes; the daemon takes 1000"
    assert session.statistics().arena_used_bytes == 0


def test_what_a_daemon_found_in_the_ring_is_acknowledged_once_it_is_sent() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    log_scalars(session, series, 2)
    begun = claim(session, series, b"tensor")
    log_scalars(session, series, 2)
    daemon.open(session, written=5)
    session.acknowledged(pb.Acknowledged(written_sequence=5))  # a daemon tells it once
    daemon.take_all(session)
    assert session.acknowledged_sequence == 2
    session.copies_started(begun, [])
    daemon.take_all(session)
    assert session.acknowledged_sequence == 5
    assert session.is_drained
    assert session.ring.used_bytes == session.arena.used_bytes == 0


def test_a_shared_ring_is_read_on_behind_what_its_daemon_found_there() -> None:
    session = make_session()
    _, series = define(session)
    log_scalars(session, series, 3)
    session.opened(pb.OpenReply(received_sequence=2, written_sequence=2), is_shared=True)
    assert session.acknowledged_sequence == session.ring.freed_sequence == 2
    assert session.attachment().log_from.sequence == 2
    session.next_messages()
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    assert session.is_drained


def test_what_a_daemon_found_behind_a_claimed_record_goes_to_it_by_value() -> None:
    session = make_session()
    _, series = define(session)
    begun = claim(session, series, b"tensor")
    log_scalars(session, series, 1)
    session.opened(pb.OpenReply(received_sequence=2, written_sequence=2), is_shared=True)
    assert not session.attachment().HasField("log_from")
    session.copies_started(begun, [])
    while session.next_messages():
        pass
    assert session.is_drained
    assert session.ring.used_bytes == 0


def test_what_one_daemon_found_in_the_ring_is_not_acknowledged_for_the_next() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    log_scalars(session, series, 2)
    daemon.open(session, written=2)
    session.disconnected()
    daemon.open(session, written=0)
    daemon.take_all(session)
    assert session.acknowledged_sequence == 0
