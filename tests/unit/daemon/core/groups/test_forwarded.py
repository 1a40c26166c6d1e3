from __future__ import annotations

import numpy as np
from boardd.core.groups.entries import Attempt, Began, Joined, Rewound, Scalars, Tag
from boardd.core.groups.forwarded import ForwardedGroup
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from boardd.core.groups.points import RankScalars

SESSION = b"s" * 16


def begun(group: Group, **changes: str) -> Group:
    joined = Joined(SESSION, 1, Attempt(5, "job", 0), 2, "host", 7, False, **changes)
    for entry in (Began(b"g" * 16, 2), *group.admit(joined)):
        group.apply(entry, 0.0)
    tags = group.new_tags([Tag(b"loss", "scalar", "mean"), Tag(b"norm", "scalar", "mean")])
    assert tags is not None
    group.apply(tags, 0.0)
    return group


def scalars(*steps: int) -> Scalars:
    count = len(steps)
    column = np.array(steps, np.int64)
    tag = np.arange(count, dtype=np.intp) % 2
    return Scalars(SESSION, tag, column, column + 0.5, column * 2.0)


def test_a_forwarded_group_keeps_no_contribution_and_decides_nothing() -> None:
    group = begun(ForwardedGroup(GroupLimits(join_secs=0.0, lag_points=1, lag_secs=1.0)))
    for step in range(50):
        assert group.apply(scalars(step, step), 0.0) == []
    assert (group.open_bytes, group.open_points) == (0, 0)
    assert group.due(1e9, drain=True) == []
    assert group.next_due(0.0) is None


def test_it_is_over_when_nobody_logs() -> None:
    group = begun(ForwardedGroup(GroupLimits()))
    assert not group.is_over(0.0)
    for entry in group.leave(SESSION):
        group.apply(entry, 0.0)
    assert group.is_over(0.0)


def test_it_knows_how_far_its_ranks_are_also_after_a_restart() -> None:
    group = begun(ForwardedGroup(GroupLimits()))
    group.apply(scalars(8, 9), 0.0)
    restored = ForwardedGroup(GroupLimits())
    restored.apply(group.state(), 0.0)
    for known in (group, restored):
        joined, rewound = known.purge(SESSION, 9)
        assert isinstance(joined, Joined)
        assert isinstance(rewound, Rewound)
        assert (rewound.step, rewound.session) == (9, SESSION)
    assert [type(entry) for entry in restored.purge(SESSION, 10)] == [Rewound]


def test_every_rank_that_purges_is_told_of() -> None:
    group = begun(ForwardedGroup(GroupLimits()))
    other = Joined(b"o" * 16, 0, Attempt(5, "job", 0), 2, "host", 8, False)
    for entry in (*group.admit(other), *group.purge(SESSION, 4)):
        group.apply(entry, 0.0)
    (rewound,) = group.purge(other.session, 4)
    assert isinstance(rewound, Rewound)
    assert (rewound.step, rewound.session) == (4, other.session)


def test_the_series_of_a_rank_is_shown_as_it_was_logged() -> None:
    group = begun(Group(GroupLimits()), per_rank="scalars", series="rank_1", relayed_by=b"p")
    (first,) = group.apply(scalars(3, 3, 4), 0.0)
    (second,) = group.apply(scalars(5), 0.0)
    assert isinstance(first, RankScalars)
    assert isinstance(second, RankScalars)
    assert (first.sequence, second.sequence, group.next_sequence) == (1, 4, 5)
    assert first.series == "rank_1"
    assert first.tag.tolist() == [0, 1, 0]
    assert first.step.tolist() == [3, 3, 4]
    assert first.value.tolist() == [6.0, 6.0, 8.0]
    assert group.live_sessions == []
    assert group.series_of(SESSION) == "rank_1"


def test_what_a_superseded_attempt_logs_is_not_shown() -> None:
    group = begun(Group(GroupLimits()), per_rank="scalars", series="rank_1", relayed_by=b"p")
    newer = Joined(b"n" * 16, 1, Attempt(6, "job", 1), 2, "host", 8, False)
    for entry in group.admit(newer):
        group.apply(entry, 0.0)
    assert group.apply(scalars(3, 3), 0.0) == []
    assert group.late == {1: 2}
