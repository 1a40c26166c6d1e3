"""Who logs to a group, as far as its journal took it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from boardd.core.runs.run_state import Member, RunState
from boardd.core.session.batch import RunPart
from boardd.runs.groups.group_members import GroupMembers
from boardd.runs.writing.outcomes import SortedOutcomes
from boardd_protos import boardd_pb2 as pb

SESSION = b"s" * 16


def test_a_session_whose_presence_was_not_recorded_is_a_newcomer_once_more() -> None:
    run = RunState("/logs/run", "run", "", 10)
    run.members[SESSION, 1] = Member(0, 0, "")
    run.holders.add((SESSION, 1))
    members = GroupMembers(run, lambda session: False, 60.0, 60.0)
    (joined,) = members.newcomers()
    assert members.newcomers() == []
    members.forget(joined.session)
    assert [one.session for one in members.newcomers()] == [joined.session]


@pytest.mark.parametrize("is_rejected", [False, True])
def test_parts_of_a_group_that_was_forgotten_wait_no_more(is_rejected: bool) -> None:
    run = RunState("/logs/run", "run", "", 10, pending=5)
    part = RunPart(SESSION, run, None, 1, 5, 100, group=b"gone")
    outcomes = SortedOutcomes(cast(Any, None))  # which are for sessions
    if is_rejected:
        outcomes.reject(part, pb.RUN_REFUSED, "full")
    else:
        outcomes.finish(part, 100, 0)
    assert run.pending == 0


def test_a_session_that_was_forgotten_is_looked_for_when_another_logs() -> None:
    run = RunState("/logs/run", "run", "", 10)
    for rank in (0, 1):
        run.members[SESSION, rank] = Member(rank, 2, "")
        run.holders.add((SESSION, rank))
    members = GroupMembers(run, lambda session: False, 60.0, 60.0)
    part = RunPart(SESSION, run, None, 1, 5, 100, numbers=(0,))
    assert members.may_have_newcomers([part])
    first, _ = members.newcomers()
    assert not members.may_have_newcomers([part])
    others = RunPart(SESSION, run, None, 1, 5, 100, numbers=(1 - first.rank,))
    members.forget(first.session)
    assert members.may_have_newcomers([others])
    assert [one.session for one in members.newcomers()] == [first.session]
    assert not members.may_have_newcomers([others])


def test_a_part_of_a_session_that_has_not_come_and_one_that_has_left_are_looked_for() -> None:
    run = RunState("/logs/run", "run", "", 10)
    run.members[SESSION, 1] = Member(0, 0, "")
    run.holders.add((SESSION, 1))
    members = GroupMembers(run, lambda session: False, 60.0, 60.0)
    members.newcomers()
    assert members.may_have_newcomers([RunPart(SESSION, run, None, 1, 5, 100, numbers=(2,))])
    run.members.leave(SESSION)
    assert members.may_have_newcomers([])
