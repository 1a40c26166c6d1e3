"""What a session counts and reports, and what it keeps of its runs."""

from __future__ import annotations

import numpy as np
from boardd_client.memory.drop_reason import DropReason
from boardd_client.session.counters import MAX_REPORTED, REPORT_INTERVAL_SECS
from boardd_client.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.client_session import (
    Daemon,
    balance,
    define,
    log_scalars,
    log_tensor,
    make_session,
)


def test_rejections_count_once_they_are_acknowledged_and_name_their_run() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 5)
    daemon.take_all(session)
    rejected = pb.Rejected(sequence=2, records=2, reason=pb.INVALID_TENSOR, message="bad dtype")
    assert session.rejected(rejected) is run
    assert run.rejected == 0
    balance(session)
    session.acknowledged(pb.Acknowledged(written_sequence=5))
    assert dict(session.statistics().rejected) == {"INVALID_TENSOR": 2}
    assert session.statistics().written == 3
    assert (run.rejected, run.last_rejection) == (2, "INVALID_TENSOR: bad dtype")
    balance(session)


def test_a_rejection_that_a_new_daemon_repeats_counts_once() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    daemon.take_all(session)
    rejected = pb.Rejected(sequence=2, records=1, reason=pb.INVALID_RECORD)
    session.rejected(rejected)
    session.disconnected()
    Daemon(received=0).open(session)
    Daemon().take_all(session)
    session.rejected(rejected)
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    assert dict(session.statistics().rejected) == {"INVALID_RECORD": 1}
    balance(session)


def test_a_reason_of_a_newer_daemon_is_counted_by_its_number() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 1)
    daemon.take_all(session)
    session.rejected(pb.Rejected.FromString(b"\x08\x01\x10\x01\x18\xe7\x07"))
    session.acknowledged(pb.Acknowledged(written_sequence=1))
    assert dict(session.statistics().rejected) == {"REASON_999": 1}


def test_the_last_refusal_of_a_run_is_kept_with_it() -> None:
    session, daemon = make_session(), Daemon()
    run, _ = define(session)
    daemon.open(session)
    message = pb.RunRefused(run=run.number, reason=pb.OUTSIDE_ROOTS, message="/logs is outside")
    assert session.run_refused(message) is run
    assert run.refusal == "OUTSIDE_ROOTS: /logs is outside"
    assert session.run_refused(pb.RunRefused(run=999)) is None


def test_a_refused_session_is_so_until_it_is_opened() -> None:
    session = make_session()
    session.refused("UNAUTHENTICATED: token")
    assert session.refusal == "UNAUTHENTICATED: token"
    Daemon().open(session)
    assert session.refusal == ""


def test_a_run_that_has_ended_is_forgotten_once_its_end_is_acknowledged() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    other, kept = define(session)
    daemon.open(session)
    log_scalars(session, series, 2)
    assert session.end_run(run, 1.0) == 3
    daemon.take_all(session)
    assert daemon.frames[-1].kind == FrameKind.END_RUN
    assert daemon.frames[-1].target == run.number
    session.disconnected()
    again = Daemon(received=2)
    again.open(session)
    again.take_all(session)
    assert set(again.runs) == {run.number, other.number}  # its end is still to be written
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    session.disconnected()
    later = Daemon(received=3)
    later.open(session)
    later.take_all(session)
    assert (set(later.runs), set(later.series)) == ({other.number}, {kept})
    counts = session.statistics()
    assert (counts.accepted, counts.written, counts.pending) == (2, 2, 0)


def test_drops_are_counted_and_reported_when_they_change_and_to_every_daemon() -> None:
    session, daemon = make_session(), Daemon()
    define(session)
    daemon.open(session)
    assert session.drop(DropReason.ARENA_FULL, 100) == 1
    assert session.drop(DropReason.ARENA_FULL, 100) == 2
    session.drop(DropReason.LOG_FULL)
    daemon.take_all(session)
    daemon.take_all(session)
    assert daemon.reports == [{"arena_full": 2, "log_full": 1}]
    session.disconnected()
    daemon.open(session)
    daemon.take_all(session)
    assert len(daemon.reports) == 2
    # Plain strings, which show as such to who prints them.
    assert repr(dict(session.statistics().dropped)) == "{'arena_full': 2, 'log_full': 1}"
    assert session.statistics().accepted == 0


def reported(session: Session, now: float) -> list[tuple[int, str, int, int, int]]:
    """What is told of drops at a moment."""
    return [
        (count.run, count.reason, count.records, count.size_bytes, count.step)
        for message in session.next_messages(now=now)
        for count in message.report.dropped
    ]


def test_drops_are_told_by_run_with_their_highest_step_and_only_those_that_grew() -> None:
    session, daemon = make_session(), Daemon()
    (first, _), (second, _) = define(session), define(session)
    daemon.open(session)
    session.drop(DropReason.LOG_FULL, run=first, step=7, records=100)
    session.drop(DropReason.LOG_FULL, run=first, step=5)
    session.drop(DropReason.ARENA_FULL, 64, run=second, step=-3)
    assert session.drop(DropReason.LOG_FULL) == 102
    assert set(reported(session, 1.0)) == {
        (first.number, "log_full", 101, 0, 7),
        (second.number, "arena_full", 1, 64, -3),
        (0, "log_full", 1, 0, 0),
    }
    session.drop(DropReason.ARENA_FULL, 64, run=second, step=9)
    assert reported(session, 2.0) == [(second.number, "arena_full", 2, 128, 9)]
    session.disconnected()
    daemon.open(session)
    assert len(reported(session, 3.0)) == 3
    assert dict(session.statistics().dropped) == {"log_full": 102, "arena_full": 2}


def test_the_step_of_a_runs_drops_never_falls_whatever_their_reason() -> None:
    session, daemon = make_session(), Daemon()
    (first, _), (second, _) = define(session), define(session)
    daemon.open(session)
    session.drop(DropReason.LOG_FULL, run=first, step=900)
    session.drop(DropReason.LOG_FULL, run=second, step=-4)
    assert len(reported(session, 1.0)) == 2
    session.drop(DropReason.ARENA_FULL, run=first, step=7)
    session.drop(DropReason.ARENA_FULL, run=second, step=-9)
    assert reported(session, 2.0) == [
        (first.number, "arena_full", 1, 0, 900),
        (second.number, "arena_full", 1, 0, -4),
    ]
    session.disconnected()
    daemon.open(session)
    told = {(run, step) for run, _, _, _, step in reported(session, 3.0)}
    assert told == {(first.number, 900), (second.number, -4)}


def test_drops_are_told_so_often_but_always_before_the_end_of_a_run() -> None:
    session, daemon = make_session(), Daemon()
    run, _ = define(session)
    daemon.open(session)
    session.drop(DropReason.LOG_FULL, run=run)
    assert len(reported(session, 10.0)) == 1
    session.drop(DropReason.LOG_FULL, run=run)
    assert reported(session, 10.0 + REPORT_INTERVAL_SECS / 2) == []
    assert len(reported(session, 10.0 + 1.5 * REPORT_INTERVAL_SECS)) == 1
    session.drop(DropReason.LOG_FULL, run=run)
    session.end_run(run, 1.0)
    kinds = [
        message.WhichOneof("message")
        for message in session.next_messages(now=10.0 + 1.6 * REPORT_INTERVAL_SECS)
    ]
    assert kinds == ["report", "records"]


def test_reports_are_bounded() -> None:
    session, daemon = make_session(), Daemon()
    daemon.open(session)
    for _ in range(MAX_REPORTED + 5):
        run, _ = define(session)
        session.drop(DropReason.LOG_FULL, run=run)
    assert [len(reported(session, now)) for now in (1.0, 2.0, 3.0)] == [MAX_REPORTED, 5, 0]


def test_a_rejection_counts_once_the_last_record_that_it_names_is_acknowledged() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 9)
    daemon.take_all(session)
    session.rejected(pb.Rejected(sequence=2, records=2, last_sequence=8, reason=pb.INVALID_RECORD))
    session.acknowledged(pb.Acknowledged(written_sequence=7))
    assert dict(session.statistics().rejected) == {}
    session.acknowledged(pb.Acknowledged(written_sequence=8))
    assert dict(session.statistics().rejected) == {"INVALID_RECORD": 2}
    balance(session)


def test_scalars_are_kept_for_export_also_when_the_daemon_has_them() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    other = session.define_series(run, "accuracy")
    daemon.open(session)
    session.ring.append_scalar(series, 1, 10.0, 0.5)
    log_tensor(session, series, b"tensor")
    session.ring.append_scalar(other, 2, 11.0, 0.25)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    session.ring.append_scalar(series, 3, 12.0, float("nan"))
    exported, lost = session.export_scalars({series: "/logs/loss"})
    assert lost == 0
    assert list(exported) == ["/logs/loss"]
    assert exported["/logs/loss"][0] == [10.0, 1, 0.5]
    assert np.isnan(exported["/logs/loss"][1][2])
    session.clear_scalars([series])
    names = {series: "loss", other: "accuracy"}
    assert session.export_scalars(names)[0] == {"accuracy": [[11.0, 2, 0.25]]}


def test_each_run_that_may_have_some_of_what_was_rejected_is_told_of_it() -> None:
    session, daemon = make_session(), Daemon()
    runs_and_series = [define(session) for _ in range(3)]
    runs = [run for run, _ in runs_and_series]
    daemon.open(session)
    for _, series in runs_and_series:
        log_scalars(session, series, 2)
    daemon.take_all(session)
    numbers = [run.number for run in runs[:2]]
    session.rejected(pb.Rejected(sequence=1, records=4, reason=pb.SUPERSEDED, runs=numbers))
    session.acknowledged(pb.Acknowledged(written_sequence=6))
    assert [run.rejected for run in runs] == [4, 4, 0]
    assert dict(session.statistics().rejected) == {"SUPERSEDED": 4}
    balance(session)


REJECTED = pb.Rejected(
    number=1, sequence=2, last_sequence=4, records=3, reason=pb.RUN_REFUSED, message="refused"
)


def test_an_acknowledgement_that_ends_inside_of_a_rejection_counts_none_of_it() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 5)
    daemon.take_all(session)
    session.rejected(REJECTED)
    session.acknowledged(pb.Acknowledged(written_sequence=3))
    assert session.acknowledged_sequence == 1
    assert not session.statistics().rejected
    balance(session)
    session.acknowledged(pb.Acknowledged(written_sequence=4))
    assert session.acknowledged_sequence == 4
    assert dict(session.statistics().rejected) == {"RUN_REFUSED": 3}
    balance(session)


def test_a_daemon_that_is_back_settles_nothing_beside_rejections_that_do_not_count_yet() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 5)
    daemon.take_all(session)
    session.rejected(REJECTED)
    session.disconnected()
    again = Daemon(received=5)
    again.open(session, written=5)
    assert session.acknowledged_sequence == 0
    balance(session)
    # It tells the rejection again, since it has not heard that it was heard.
    session.rejected(REJECTED)
    session.acknowledged(pb.Acknowledged(written_sequence=5))
    counts = session.statistics()
    assert (counts.written, dict(counts.rejected), counts.pending) == (2, {"RUN_REFUSED": 3}, 0)


def test_a_rejection_counts_with_an_acknowledgement_that_says_nothing_else() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 5)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=5))
    late = pb.Rejected()
    late.CopyFrom(REJECTED)
    late.run = run.number
    session.rejected(late)
    assert not session.statistics().rejected
    session.acknowledged(pb.Acknowledged(written_sequence=5))
    assert dict(session.statistics().rejected) == {"RUN_REFUSED": 3}
    assert run.rejected == 3
    balance(session)
