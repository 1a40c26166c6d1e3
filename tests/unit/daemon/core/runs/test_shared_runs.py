"""Two processes on one run are told of each other, unless they share it on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from boardd.core.budget import Budgets
from boardd.core.runs.run_state import Member, Process, Runs, RunState
from boardd.core.runs.shared_runs import SharedRun, newly_shared

ONE = Member(-1, 0, "", epoch=5, process=Process("host", 1, b"one"))
TWO = Member(-1, 0, "", epoch=6, process=Process("host", 2, b"two"))


class Joining:
    """A run, and the sessions of which it is known that their clients are gone."""

    def __init__(self) -> None:
        self.runs = Runs(Budgets())
        self.absent: set[bytes] = set()

    def join(self, session: bytes, member: Member, number: int = 1) -> list[tuple[bytes, bytes]]:
        """Returns who is told of whom."""
        self.run: RunState = self.runs.join("/run", "/run", "", (session, number), member)
        shared = newly_shared(self.run, session, self.absent.__contains__)
        assert all(isinstance(one, SharedRun) and one.path == "/run" for one in shared)
        return [(one.told, one.other) for one in shared]


def test_each_of_two_processes_is_told_of_the_other_once() -> None:
    joining = Joining()
    assert joining.join(b"1", ONE) == []
    assert joining.join(b"2", TWO) == [(b"2", b"1"), (b"1", b"2")]
    assert joining.join(b"2", TWO, number=2) == []
    assert joining.join(b"3", replace(TWO, epoch=7, process=Process("other", 2, b"three"))) == [
        (b"3", b"1")
    ]
    joining.runs.leave(b"1")
    assert (b"1", b"2") in joining.join(b"1", ONE)  # a session that has ended and is back


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param(ONE, replace(TWO, process=ONE.process), id="two sessions of a process"),
        pytest.param(
            replace(ONE, process=Process("host", 1)),
            replace(TWO, process=Process("host", 1, b"two")),
            id="a process that does not say its id",
        ),
        pytest.param(ONE, replace(TWO, has_siblings=True), id="the second was forked"),
        pytest.param(replace(ONE, has_siblings=True), TWO, id="the first was forked"),
        pytest.param(replace(ONE, rank=0, world_size=2), TWO, id="ranks are merged"),
        pytest.param(ONE, replace(TWO, purges=True), id="the second takes the run over"),
        pytest.param(replace(ONE, epoch=7, purges=True), TWO, id="the second is superseded"),
        pytest.param(ONE, replace(TWO, epoch=ONE.epoch), id="one epoch was given to both"),
        pytest.param(ONE, Member(-1, 0, ""), id="the daemon's own"),
    ],
)
def test_who_shares_a_run_on_purpose_is_not_told(one: Member, two: Member) -> None:
    joining = Joining()
    assert joining.join(b"1", one) + joining.join(b"2", two) == []


def test_a_purge_takes_nothing_over_from_a_later_writer() -> None:
    joining = Joining()
    joining.join(b"1", replace(ONE, purges=True))
    assert len(joining.join(b"2", TWO)) == 2


@pytest.mark.parametrize("gone", [b"1", b"2"])
def test_a_client_that_is_gone_does_not_count(gone: bytes) -> None:
    joining = Joining()
    joining.absent.add(gone)
    assert joining.join(b"1", ONE) + joining.join(b"2", TWO) == []


def test_a_run_that_was_ended_is_free() -> None:
    joining = Joining()
    joining.join(b"1", ONE)
    joining.run.holders.clear()
    assert joining.join(b"2", TWO) == []
