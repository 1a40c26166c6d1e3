"""What is acknowledged past runs that are held up, and around rejections."""

from __future__ import annotations

import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.runs.run_state import Runs
from boardd.core.session.held_runs import HELD_UP_SECS
from boardd.core.session.rejections import Rejection
from boardd.core.session.session import Session
from boardd.core.session.settled import HeldRun, Settled
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions, scalar, scalars, summary

LOGDIRS = {"run": "/root/run", "other": "/root/other"}
HELD, OTHER = 1, 2


def make_session() -> Session:
    """A session with two runs, of series 1 and 2."""
    budgets = Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16)
    session = Session(request, 0, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    session.define(definitions("run"), LOGDIRS)
    session.define(definitions("other", {2: "a"}, run=OTHER), LOGDIRS)
    return session


def acknowledged(session: Session) -> tuple[int, int, list[tuple[int, int]]]:
    (message,) = session.telling.take()
    told = message.acknowledged
    held = [(run.run, run.first_sequence) for run in told.held]
    return told.written_sequence, told.settled_sequence, held


def test_a_run_that_writes_nothing_for_long_holds_up_nobody() -> None:
    session = make_session()
    session.telling.begin()
    (held,) = session.receive(scalar(1)).parts
    for part in session.receive(scalar(2, series=2)).parts:
        session.finish(part, 1)
    session.look(1.0)
    assert acknowledged(session) == (0, 0, [])
    session.look(1.0 + HELD_UP_SECS)
    assert acknowledged(session) == (0, 2, [(HELD, 1)])
    (later,) = session.receive(scalar(3)).parts
    assert acknowledged(session) == (0, 3, [(HELD, 1)])
    assert session.is_written(3, [OTHER])
    assert not session.is_written(3, [HELD])
    # It goes on; what was settled before stays so.
    session.finish(held, 1)
    session.look(5.0)
    assert acknowledged(session) == (2, 3, [(HELD, 3)])
    session.finish(later, 1)
    session.look(6.0)
    assert acknowledged(session) == (3, 0, [])


def test_a_run_that_goes_on_slowly_is_not_held_up() -> None:
    session = make_session()
    parts = [session.receive(scalar(number)).parts[0] for number in range(1, 9)]
    for at, part in enumerate(parts):
        session.look(at * HELD_UP_SECS * 0.9)
        session.finish(part, 1)
        assert session.telling.take()[-1].acknowledged.settled_sequence == 0


def test_trouble_is_told_at_once_and_with_its_reason() -> None:
    session = make_session()
    (part,) = session.receive(scalar(1)).parts
    part.run.progress.trouble = "No space left on device"
    session.look(0.0)
    (message,) = session.telling.take()
    assert [run.trouble for run in message.acknowledged.held] == ["No space left on device"]


@pytest.mark.parametrize(
    ("settled", "spans", "outside"),
    [
        (Settled(5), [], Settled(5)),
        (Settled(5), [(3, 5, ())], Settled(5)),
        (Settled(5), [(3, 6, ())], Settled(2)),
        (Settled(5), [(3, 6, ()), (2, 3, ())], Settled(1)),
        (Settled(2, 9, (HeldRun(1, 3, ""),)), [(8, 12, (2,))], Settled(2, 7, (HeldRun(1, 3, ""),))),
        (Settled(2, 9, (HeldRun(1, 6, ""),)), [(4, 8, (1,))], Settled(2, 9, (HeldRun(1, 4, ""),))),
        (Settled(2, 9, (HeldRun(1, 3, ""),)), [(4, 12, (1,))], Settled(2, 9, (HeldRun(1, 3, ""),))),
        (Settled(2, 4, (HeldRun(1, 3, ""),)), [(2, 9, (2,))], Settled(1)),
        # Of no known run.
        (Settled(2, 9, (HeldRun(1, 3, ""),)), [(8, 12, ())], Settled(2, 7, (HeldRun(1, 3, ""),))),
        (Settled(2, 9, (HeldRun(1, 3, ""),)), [(4, 9, ())], Settled(2, 9, (HeldRun(1, 3, ""),))),
    ],
)
def test_no_acknowledgement_ends_inside_of_a_rejection(
    settled: Settled, spans: list[tuple[int, int, tuple[int, ...]]], outside: Settled
) -> None:
    rejections = [Rejection(first, 2, 1, "", last, runs) for first, last, runs in spans]
    assert settled.outside(rejections) == outside


def test_what_was_told_is_told_again_until_it_is_heard() -> None:
    session = make_session()
    session.telling.begin()
    session.receive(scalars(1, 3, series=99))
    rejected, acknowledged = session.telling.take()
    assert (rejected.rejected.number, rejected.rejected.records) == (1, 3)
    assert acknowledged.acknowledged.written_sequence == 3
    assert session.known_sequence == 0, "a client that has not heard may not count them written"
    session.telling.begin()
    assert session.telling.take() == [rejected, acknowledged]
    # Also by the session that comes after this one's end.
    budgets = Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16)
    again = Session(request, 3, budgets, Runs(budgets), Intake(1000), session.remembered())
    again.telling.begin()
    assert again.telling.take() == [rejected, acknowledged]
    again.telling.heard(1)
    assert again.known_sequence == 3
    again.telling.begin()
    assert again.telling.take() == [acknowledged]


@pytest.mark.parametrize("is_defined", [False, True])
def test_rejections_are_told_before_what_is_acknowledged_past_a_held_up_run(
    is_defined: bool,
) -> None:
    budgets = Budgets(max_series_per_session=2)
    request = pb.OpenRequest(session_id=b"a" * 16)
    session = Session(request, 0, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    session.define(definitions("run"), LOGDIRS)
    session.define(definitions("other", {2: "a"}, run=OTHER), LOGDIRS)
    if is_defined:  # past the budget
        session.define(definitions("other", {3: "b"}, run=OTHER), LOGDIRS)
    session.telling.begin()
    (part,) = session.receive(scalar(1)).parts
    part.run.progress.trouble = "No space left on device"
    session.receive(scalars(2, 3, series=3))
    session.look(0.0)
    rejected, acknowledged = session.telling.take()
    assert (rejected.rejected.sequence, rejected.rejected.records) == (2, 3)
    assert rejected.rejected.run == (OTHER if is_defined else 0)
    assert acknowledged.acknowledged.settled_sequence == 4


def test_a_rejection_is_told_to_each_run_that_its_records_were_logged_to() -> None:
    budgets = Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16)
    session = Session(request, 0, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    for number in (1, 2, 3):  # writers of one directory
        session.define(definitions("run", {number: f"tag{number}"}, run=number), LOGDIRS)
    session.telling.begin()
    (both,) = session.receive(scalars(1, 2) + scalars(3, 2, series=2)).parts
    (one,) = session.receive(summary(5, pb.Payload(), series=2)).parts
    session.reject(both, pb.SUPERSEDED, "superseded")
    session.reject(one, pb.UNSUPPORTED, "unknown")
    *rejected, _ = session.telling.take()
    told = {message.rejected.records: message.rejected for message in rejected}
    assert (told[4].run, list(told[4].runs)) == (0, [1, 2])
    assert (told[1].run, list(told[1].runs)) == (2, [])


def test_a_client_hears_nothing_that_was_never_told() -> None:
    session = make_session()
    session.telling.begin()
    session.receive(scalars(1, 3, series=99))
    session.telling.take()
    session.telling.heard((1 << 64) - 1)
    assert session.known_sequence == 0
    session.receive(scalars(4, 3, series=99))
    (rejected, _) = session.telling.take()
    assert rejected.rejected.number == 2
    session.telling.resume(7)
    session.receive(scalars(7, 3, series=99))
    (rejected, _) = session.telling.take()
    assert rejected.rejected.number == 8


def test_a_look_says_whether_there_may_be_something_to_tell() -> None:
    session = make_session()
    assert not session.look(0.0)
    (held,) = session.receive(scalar(1)).parts
    assert not session.look(1.0)
    assert session.look(1.0 + HELD_UP_SECS)
    (later,) = session.receive(scalar(2)).parts
    assert session.look(1.5 + HELD_UP_SECS)
    session.finish(held, 1)
    # It goes on: that it is held up no more is to be told, once.
    assert session.look(2.0 + HELD_UP_SECS)
    assert not session.look(2.1 + HELD_UP_SECS)
    later.run.progress.trouble = "the disk is full"
    assert session.look(2.2 + HELD_UP_SECS)
