"""Each session of a run is told once of each failed sync."""

from __future__ import annotations

from boardd.core.budget import Budgets
from boardd.core.runs.run_state import Member, Runs
from boardd.core.runs.sync_failures import MAX_REASONS, SyncFailures

A, B = b"a", b"b"


def test_each_session_is_told_once() -> None:
    failures = SyncFailures()
    failures.join(A)
    failures.join(B)
    failures.note("first")
    assert failures.tell(A) == "first"
    assert failures.tell(A) == ""
    failures.note("second")
    assert failures.tell(A) == "second"
    assert failures.tell(B) == "first; second"
    assert failures.tell(B) == ""


def test_who_comes_later_is_not_told_of_what_was_before() -> None:
    failures = SyncFailures()
    failures.note("first")
    failures.join(A)
    assert failures.tell(A) == ""
    failures.join(B)
    failures.note("second")
    failures.join(B)  # once more
    assert failures.tell(B) == "second"


def test_of_many_failures_the_latest_are_told_with_their_reasons() -> None:
    failures = SyncFailures()
    failures.join(A)
    for number in range(MAX_REASONS + 3):
        failures.note(str(number))
    reasons = failures.tell(A).split("; ")
    assert reasons == ["3 earlier failures", *map(str, range(3, MAX_REASONS + 3))]


def test_a_session_of_a_run_is_owed_failures_until_it_leaves() -> None:
    runs = Runs(Budgets())
    run = runs.join("/run", "/run", "", (A, 1), Member(-1, 0, ""))
    runs.join("/run", "/run", "", (A, 2), Member(-1, 0, ""))
    runs.join("/run", "/run", "", (B, 1), Member(-1, 0, ""))
    failures = run.progress.sync_failures
    runs.leave_run(run, (A, 1))
    failures.note("first")
    assert failures.tell(A) == "first"
    runs.leave_run(run, (A, 2))
    runs.leave(B)
    assert failures._told == {}
