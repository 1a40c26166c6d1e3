"""Whether a launch was started again, or one rank of it."""

from __future__ import annotations

import pytest
from boardd.core.groups.entries import Attempt, Joined, Left, Rewound
from boardd.core.groups.forwarded import ForwardedGroup
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from support.group_ranks import FIRST, Ranks

#: Shares host name and pid with every other process, as containers started again in place do.
OLD, NEW = b"old", b"new"


def trained(steps: int = 5, ranks: int = 2) -> tuple[Ranks, list[bytes]]:
    """Ranks that have logged, and their sessions."""
    group = Ranks(ranks)
    sessions = [group.join(rank, process_id=OLD + b"%d" % rank) for rank in range(ranks)]
    for session in sessions:
        group.log(session, range(steps))
    group.decide()
    return group, sessions


def come_back(
    group: Ranks, rank: int, name: bytes = NEW, absent: list[bytes] | None = None
) -> bytes:
    return group.join(rank, process_id=name + b"%d" % rank, absent=absent or [])


def attempts_of(group: Ranks) -> set[int]:
    return {entry.attempt.epoch for entry in group.entries if isinstance(entry, Joined)}


def log_again(group: Ranks, sessions: list[bytes], steps: range) -> list[int]:
    for session in sessions:
        group.log(session, steps)
    return [step for step, *_ in group.decide()]


def test_a_job_started_again_under_the_same_host_and_pid_is_a_new_attempt() -> None:
    group, old = trained()
    for session in old:
        group.leave(session)
    new = [come_back(group, rank) for rank in range(2)]
    assert log_again(group, new, range(2, 7)) == [2, 3, 4, 5, 6]
    assert group.group.late == {}


def test_a_job_started_again_is_a_new_attempt_while_leases_of_the_old_one_last() -> None:
    group, old = trained()
    new = [come_back(group, rank, absent=old) for rank in range(2)]
    assert set(group.group.live_sessions) == set(new)
    assert log_again(group, new, range(2, 7)) == [2, 3, 4, 5, 6]
    # What was not dead after all stays out.
    group.apply(*group.group.admit(member_of(group, old[0])))
    group.log(old[0], [9])
    assert group.group.late == {0: 1}


def test_members_of_which_a_new_daemon_has_not_heard_go_on_beside_a_rank_that_is_back() -> None:
    group, old = trained(ranks=3)
    new = come_back(group, 0, absent=old)
    for session in old[1:]:
        group.apply(*group.group.admit(member_of(group, session)))
    assert set(group.group.live_sessions) == {new, *old[1:]}
    assert log_again(group, [new, *old[1:]], range(5, 8)) == [5, 6, 7]
    assert group.group.late == {}
    assert not group.group.admit(member_of(group, old[0]))


def member_of(group: Ranks, session: bytes) -> Joined:
    return next(
        entry for entry in group.entries if isinstance(entry, Joined) and entry.session == session
    )


def test_ranks_that_are_started_again_one_after_the_other_begin_an_attempt_together() -> None:
    group, old = trained()
    group.leave(old[0])
    first = come_back(group, 0)
    group.log(first, [0])  # a setting, while the other rank still hangs
    group.leave(old[1])
    second = come_back(group, 1)
    assert log_again(group, [first, second], range(1, 4)) == [1, 2, 3]
    assert set(group.group.live_sessions) == {first, second}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_went_on_with_the_others_holds_the_attempt(rank: int) -> None:
    group, sessions = trained()
    group.leave(sessions[rank])
    sessions[rank] = come_back(group, rank)
    assert log_again(group, sessions, range(5, 8)) == [5, 6, 7]
    other = 1 - rank
    group.leave(sessions[other])
    sessions[other] = come_back(group, other)
    assert log_again(group, sessions, range(8, 10)) == [8, 9]
    assert attempts_of(group) == {FIRST.epoch}
    assert not any(isinstance(entry, Rewound) for entry in group.entries)


def test_a_rank_that_went_on_is_known_by_the_next_daemon_too() -> None:
    group, sessions = trained()
    group.leave(sessions[0])
    back = come_back(group, 0)
    for step, is_back in ((3, True), (5, False)):
        group.log(back, [step])
        restored = Group(GroupLimits())
        restored.apply(group.group.state(), 0.0)
        assert bool(restored.state().arrays["is_back"].any()) is is_back


def test_another_process_of_a_rank_that_is_there_begins_nothing() -> None:
    """A script that rank 0 starts inherits its environment."""
    group, old = trained()
    come_back(group, 0)
    group.leave(old[1])
    come_back(group, 0, b"third")
    assert attempts_of(group) == {FIRST.epoch}


def test_a_process_that_comes_back_with_another_session_goes_on() -> None:
    group = Ranks(1)
    one = group.join(0, process_id=OLD)
    group.log(one, range(5))
    group.leave(one)
    group.join(0, pid=2, process_id=OLD)  # a process knows its pid by another number elsewhere
    assert attempts_of(group) == {FIRST.epoch}


def test_what_is_left_of_a_launch_does_not_keep_the_next_one_of_that_name_out() -> None:
    group = Ranks(1)
    old = group.join(0, Attempt(10, "job", 2), process_id=OLD)
    group.log(old, range(5))
    new = group.join(0, Attempt(20, "job", 0), process_id=NEW, absent=[old])
    group.log(new, [2])
    assert group.group.late == {}


def test_the_world_is_as_large_as_the_newest_member_says() -> None:
    group, old = trained(ranks=4)
    group.world_size = 2
    for session in old[2:]:
        group.leave(session)
    # The processes of ranks 0 and 1 go on in a smaller world.
    for rank in range(2):
        group.join(rank, process_id=OLD + b"%d" % rank)
    assert group.group.world_size == 2
    assert attempts_of(group) == {FIRST.epoch}
    assert log_again(group, old[:2], range(5, 7)) == [5, 6]


def test_a_launch_started_again_in_another_size_begins_an_attempt_whoever_comes_first() -> None:
    group, old = trained()
    group.world_size = 4
    new = [come_back(group, rank, absent=old) for rank in (3, 2, 1, 0)]
    assert group.group.world_size == 4
    assert len(attempts_of(group)) == 2
    assert log_again(group, new, range(1, 3)) == [1, 2]


def test_a_host_tells_the_merging_daemon_who_is_gone() -> None:
    group, old = trained()
    forwarded = ForwardedGroup(GroupLimits())
    for entry in group.entries:
        forwarded.apply(entry, 0.0)
    joined = Joined(NEW, 0, FIRST, 2, "host", 1, False, process_id=NEW)
    left = [entry for entry in forwarded.admit(joined, old) if isinstance(entry, Left)]
    assert [entry.session for entry in left] == old
    assert not any(isinstance(entry, Left) for entry in forwarded.admit(joined, old[:1]))
