from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from boardd.core.groups.entries import (
    Attempt,
    Closed,
    Joined,
    Rewound,
    Scalars,
    Summary,
    Tag,
    Told,
)
from boardd.core.groups.points import HealthPoints, ScalarPoints, SummaryPoint
from support.group_ranks import FIRST, Ranks, shown
from support.group_totals import Total


def test_a_point_is_done_when_all_ranks_have_contributed() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1, 2], value=5)
    assert ranks.decide() == []
    ranks.log(two, [1], value=7)
    assert ranks.decide() == [(1, 0, "loss", {0: 5.0, 1: 7.0})]
    assert ranks.group.open_points == 1


def test_a_rank_that_never_logged_the_tag_is_done_once_it_is_past_the_step() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [3])
    ranks.log(two, [3], tag="another")
    assert ranks.decide() == []
    ranks.log(two, [4], tag="another")
    assert ranks.decide() == [(3, 0, "loss", {0: 1.0})]


def test_a_rank_that_left_is_not_waited_for() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1])
    ranks.leave(two)
    assert ranks.decide() == [(1, 0, "loss", {0: 1.0})]


def test_a_rank_may_end_before_another_begins() -> None:
    ranks = Ranks(2)
    one = ranks.join(0)
    ranks.log(one, [1])
    ranks.leave(one)
    assert ranks.decide(30.0) == []
    assert not ranks.group.is_over(30.0)
    two = ranks.join(1)
    ranks.log(two, [1])
    assert ranks.decide(50.0) == [(1, 0, "loss", {0: 1.0, 1: 1.0})]


def test_ranks_that_log_nothing_are_waited_for_as_long_as_they_may_join() -> None:
    ranks = Ranks(3, join_secs=60.0)
    one = ranks.join(0)
    ranks.join(1)
    ranks.log(one, [1])
    assert ranks.decide(59.0) == []
    assert ranks.group.next_due(59.0) == 60.0
    assert ranks.decide(60.0) == [(1, 0, "loss", {0: 1.0})]
    ranks.log(one, [2])
    assert ranks.decide(60.0) == [(2, 0, "loss", {0: 1.0})]


def test_the_same_step_logged_again_is_a_point_of_its_own() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [0, 0, 0])
    ranks.log(two, [0, 0])
    assert [key[:2] for key in ranks.decide()] == [(0, 0), (0, 1)]


def test_a_rank_too_far_behind_is_not_waited_for() -> None:
    ranks = Ranks(2, lag_points=2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(two, [0])
    ranks.log(one, range(6))
    assert [(step, list(values)) for step, _, _, values in ranks.decide()] == [
        (0, [0, 1]),
        (1, [0]),
        (2, [0]),
    ]
    assert ranks.group.open_points == 3


def test_a_ranks_backlog_waits_a_moment_for_the_others() -> None:
    ranks = Ranks(2, lag_points=2, backlog_secs=5.0)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, range(6))
    assert ranks.decide(4.0) == []
    assert ranks.group.next_due(4.0) == 5.0
    ranks.log(two, range(2))
    assert [(step, list(values)) for step, _, _, values in ranks.decide(5.0)] == [
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [0]),
    ]


def test_a_point_does_not_stay_open_longer_than_it_may() -> None:
    ranks = Ranks(2, lag_secs=300.0)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(two, [0])
    ranks.log(one, [0, 1])
    assert len(ranks.decide(299.0)) == 1
    assert ranks.group.next_due(299.0) is not None
    assert ranks.decide(300.0) == [(1, 0, "loss", {0: 1.0})]


def test_the_oldest_points_are_closed_if_they_need_too_much_memory() -> None:
    ranks = Ranks(2, max_open_bytes=10_000)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(two, [0])
    ranks.log(one, range(20))
    steps = [step for step, *_ in ranks.decide()]
    assert steps == list(range(len(steps)))
    assert 0 < ranks.group.open_bytes <= 10_000


def test_what_comes_after_its_point_is_late() -> None:
    ranks = Ranks(2, lag_points=0)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(two, [0])
    ranks.log(one, [0, 1, 2])
    ranks.decide()
    ranks.log(two, [1])
    assert ranks.group.late == {1: 1}
    ranks.log(two, [2])
    assert ranks.decide() == [(2, 0, "loss", {0: 1.0, 1: 1.0})]


def test_a_step_below_the_ranks_own_is_late() -> None:
    ranks = Ranks(2)
    one = ranks.join(0)
    ranks.log(one, [5, 3, 6])
    assert ranks.group.late == {0: 1}
    assert ranks.group.open_points == 2


def test_a_tag_that_begins_below_what_all_have_reached_is_late() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    for rank in (one, two):
        ranks.log(rank, [9], tag="another")
    ranks.decide()
    ranks.log(one, [5], value=3)
    assert ranks.decide() == [(5, 0, "loss", {0: 3.0})]
    ranks.log(two, [5])
    assert ranks.decide() == []
    assert ranks.group.late == {1: 1}


def test_a_newer_attempt_closes_what_is_open_and_supersedes_the_older() -> None:
    ranks = Ranks(2)
    one = ranks.join(0)
    ranks.log(one, [1])
    again = ranks.join(0, Attempt(20, "job", 1), pid=2)
    assert [point.step.tolist() for point in ranks.points if isinstance(point, ScalarPoints)] == [
        [1]
    ]
    ranks.log(one, [2])
    assert ranks.group.late == {0: 1}
    ranks.log(again, [2])
    assert ranks.group.open_points == 1


def test_an_older_launch_changes_nothing() -> None:
    ranks = Ranks(1)
    one = ranks.join(0)
    other = ranks.join(0, Attempt(5, "other", 0), pid=2)
    ranks.log(other, [1])
    assert ranks.group.late == {0: 1}
    ranks.log(one, [1])
    assert ranks.decide() == [(1, 0, "loss", {0: 1.0})]


def test_what_is_left_of_an_earlier_restart_does_not_come_back() -> None:
    ranks = Ranks(1)
    ranks.join(0, Attempt(10, "job", 0))
    ranks.join(0, Attempt(20, "job", 1), pid=2)
    straggler = ranks.join(0, Attempt(30, "job", 0), pid=3)
    ranks.log(straggler, [1])
    assert ranks.group.late == {0: 1}


@pytest.mark.parametrize(
    ("pid", "siblings", "is_new"), [(2, False, True), (2, True, False), (1, False, False)]
)
def test_a_relaunch_without_a_name_is_known_by_its_processes(
    pid: int, siblings: bool, is_new: bool
) -> None:
    ranks = Ranks(1)
    one = ranks.join(0)
    ranks.log(one, [1, 2, 3])
    ranks.decide()
    ranks.leave(one)
    again = ranks.join(0, pid=pid, siblings=siblings)
    ranks.log(again, [2])
    assert any(isinstance(entry, Rewound) for entry in ranks.entries) == is_new
    assert len(ranks.decide()) == is_new


def test_a_rank_that_comes_back_beside_others_goes_on_with_them() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1])
    ranks.log(two, [1])
    ranks.leave(one)
    ranks.join(0, pid=2)
    assert len(ranks.group.live_sessions) == 2
    assert {entry.attempt for entry in ranks.entries if isinstance(entry, Joined)} == {FIRST}


def test_a_new_attempt_rewinds_once() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1, 2, 3])
    ranks.log(two, [1, 2, 3])
    ranks.decide()
    newer = Attempt(20, "job", 1)
    one, two = ranks.join(0, newer, pid=2), ranks.join(1, newer, pid=3)
    ranks.log(one, [2, 3])
    assert [entry.step for entry in ranks.entries if isinstance(entry, Rewound)] == [2]
    ranks.log(two, [1, 2])
    assert [entry.step for entry in ranks.entries if isinstance(entry, Rewound)] == [2]
    assert ranks.group.late == {1: 1}
    assert ranks.decide() == [(2, 0, "loss", {0: 1.0, 1: 1.0})]


def test_what_is_only_logged_again_rewinds_nothing() -> None:
    ranks = Ranks(1)
    one = ranks.join(0)
    ranks.log(one, [0], tag="batch size")
    ranks.log(one, range(1, 6))
    ranks.decide()
    one = ranks.join(0, Attempt(20, "job", 1), pid=2)
    ranks.log(one, [0], tag="batch size")
    ranks.log(one, [4])
    assert [entry.step for entry in ranks.entries if isinstance(entry, Rewound)] == [4]


def test_a_rewind_leaves_the_points_of_its_own_attempt() -> None:
    ranks = Ranks(1)
    ranks.log(ranks.join(0), range(6))
    ranks.decide()
    one = ranks.join(0, Attempt(20, "job", 1), pid=2)
    ranks.log(one, [3], tag="new")
    ranks.decide()
    ranks.log(one, [3, 4, 5])
    assert [entry.step for entry in ranks.entries if isinstance(entry, Rewound)] == [4]
    assert [step for step, *_ in ranks.decide()] == [4, 5]


def test_an_attempt_that_goes_on_behind_what_is_shown_rewinds_nothing() -> None:
    ranks = Ranks(1)
    ranks.log(ranks.join(0), [1])
    ranks.decide()
    ranks.log(ranks.join(0, Attempt(20, "job", 1), pid=2), [2])
    assert not any(isinstance(entry, Rewound) for entry in ranks.entries)
    assert [step for step, *_ in ranks.decide()] == [2]


def test_a_purge_counts_once_for_all_ranks() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.apply(*ranks.group.purge(one, 5))
    assert isinstance(ranks.entries[-1], Rewound)
    ranks.log(one, [5])
    assert ranks.group.purge(two, 5) == []
    assert [entry.step for entry in ranks.group.purge(two, 4) if isinstance(entry, Rewound)] == [4]
    assert ranks.group.purge(two, 9) == []


def test_a_rank_that_purges_its_own_steps_begins_an_attempt_for_all_that_are_there() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1, 2, 3])
    ranks.log(two, [1, 2, 3])
    ranks.decide()
    ranks.apply(*ranks.group.purge(one, 2))
    assert ranks.group.purge(two, 2) == []
    ranks.log(one, [2])
    ranks.log(two, [2])
    assert ranks.decide() == [(2, 0, "loss", {0: 1.0, 1: 1.0})]
    assert ranks.group.late == {}


def test_health_is_told_at_each_new_step() -> None:
    ranks = Ranks(2, lag_points=1)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(two, [1], value=4)
    ranks.log(one, [1, 2, 3, 4])
    ranks.decide()
    ranks.log(two, [2])
    ranks.log(two, [4])
    ranks.decide()
    assert ranks.health() == {
        1: [2.0, 3.0, 0.0, 3.0],
        2: [1.0, 3.0, 0.0, 0.0],
        3: [1.0, 0.0, 1.0, 0.0],
        4: [2.0, 0.0, 1.0, 0.0],
    }


def test_the_table_of_ranks_is_told_at_most_once_a_minute_and_at_the_end() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    for step, now in enumerate((0.0, 30.0, 61.0, 70.0)):
        ranks.now = now
        ranks.log(one, [step], value=5)
        ranks.log(two, [step], value=7)
        ranks.decide()
    assert len(ranks.tables()) == 2
    ranks.leave(one)
    ranks.leave(two)
    ranks.decide()
    assert len(ranks.tables()) == 3
    assert ranks.tables()[-1].splitlines()[2:] == [
        "| 0 | host | 1 | 3 | 0 | 0 | 4 | 0 | left |",
        "| 1 | host | 1 | 3 | 0 | 4 | 0 | 4 | left |",
    ]
    assert ranks.group.is_over(70.0)


def test_the_table_holds_no_markup_of_others() -> None:
    ranks = Ranks(1)
    ranks.apply(*ranks.group.admit(Joined(b"s", 0, FIRST, 1, "a|b\n<script>", 1, False)))
    ranks.log(b"s", [1])
    ranks.decide()
    assert "| a_b__script_ |" in ranks.tables()[0]


def test_summaries_are_merged_as_they_come() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    tag = ranks.tag("weights", "histogram")
    ranks.apply(Summary(one, tag, 1, 5.0, Total(2.0)), Summary(two, tag, 1, 6.0, Total(3.0)))
    ranks.decide()
    (point,) = (point for point in ranks.points if isinstance(point, SummaryPoint))
    assert (point.partial, point.count, point.wall_time) == (Total(5.0), 2, 6.0)
    assert ranks.group.open_bytes == 0


def test_a_tag_is_one_kind() -> None:
    ranks = Ranks(1)
    ranks.tag("loss")
    assert ranks.group.check_tag(Tag(b"loss", "scalar", "max")) is None
    why = ranks.group.check_tag(Tag(b"loss", "histogram", "mean"))
    assert why is not None
    assert "'loss' is a scalar" in why


def test_emission_sequences_are_consecutive() -> None:
    ranks = Ranks(1)
    one = ranks.join(0)
    tag = ranks.tag("weights", "histogram")
    for step in range(3):
        ranks.apply(Summary(one, tag, step, 5.0, Total(2.0)))
        ranks.log(one, [step, step])
        ranks.decide()
    found: list[int] = []
    for point in ranks.points:
        if isinstance(point, HealthPoints):
            found += [first + row for first in point.sequence.tolist() for row in range(4)]
        elif isinstance(point, ScalarPoints):
            found += point.sequence.tolist()
        else:
            found.append(point.sequence)
    assert found == list(range(1, ranks.group.next_sequence))


def test_a_drained_group_keeps_nothing_open() -> None:
    ranks = Ranks(4)
    ranks.log(ranks.join(0), range(5))
    assert len(ranks.decide(drain=True)) == 5
    assert ranks.group.open_points == ranks.group.open_bytes == 0


@pytest.mark.parametrize("scalars", [1, 3, 100])
def test_open_points_are_charged_what_they_need(scalars: int) -> None:
    """A point's memory is counted within a factor of two."""
    ranks = Ranks(2)
    one = ranks.join(0)
    tags = np.array([ranks.tag(f"tag {tag}") for tag in range(scalars)], np.intp)
    ranks.log(one, [0])
    gc.collect()  # empties the lists of free objects: what is taken from them is not counted
    tracemalloc.start()
    try:
        before, charged = tracemalloc.get_traced_memory()[0], ranks.group.open_bytes
        for step in range(1, 300):
            values = np.ones(scalars)
            entry = Scalars(one, tags, np.full(scalars, step), values + step, values / step)
            ranks.group.apply(entry, 0.0)
        del entry, values
        needed = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    charged = ranks.group.open_bytes - charged
    assert 0.9 * needed <= charged <= 2 * needed


def test_a_restored_group_leaves_out_what_was_open() -> None:
    ranks = Ranks(2)
    one, two = ranks.join(0), ranks.join(1)
    ranks.log(one, [1, 2])
    state = ranks.group.state()
    first = len(ranks.entries)
    ranks.log(two, [1, 2, 3])
    ranks.log(one, [3])
    ranks.decide()
    again = Ranks(2)
    again.apply(state, *ranks.entries[first:])
    assert [step for point in again.points for step, *_ in shown(point, again.group)] == [3]
    assert again.group.next_sequence == ranks.group.next_sequence
    told = [entry for entry in ranks.entries if isinstance(entry, (Closed, Told))]
    assert told
    assert again.group.open_points == 0
