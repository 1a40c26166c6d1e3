"""What is shown of a group's points, and where."""

from __future__ import annotations

import numpy as np
from boardd.core.groups.points import HEALTH_TAGS, HealthPoints, ScalarPoints
from boardd.runs.groups.group_points import OWN_TAGS, Output, ScalarRows, rows_of


def test_extremes_are_shown_where_ranks_can_differ_and_each_tag_merges_in_its_way() -> None:
    value = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 8.0]])
    present = np.array([[True, True, True], [True, False, True]])
    points = ScalarPoints(
        sequence=np.array([7, 8, 9]),
        step=np.array([3, 3, 4]),
        nth=np.zeros(3, np.int64),
        tag=np.array([0, 1, 0]),
        rank=np.array([0, 2]),
        value=value,
        present=present,
        wall_time=np.where(present, np.array([[10.0], [20.0]]), 0.0),
    )
    merged, low, high = rows_of(points, ["sum", "mean"])
    assert isinstance(merged, ScalarRows)
    assert isinstance(low, ScalarRows)
    assert isinstance(high, ScalarRows)
    assert merged.columns.value.tolist() == [5.0, 5.0, 10.0]
    assert merged.columns.wall_time.tolist() == [20.0, 10.0, 20.0]
    assert merged.tag.tolist() == [len(OWN_TAGS), len(OWN_TAGS) + 1, len(OWN_TAGS)]
    assert (low.output, high.output) == (Output.MINIMA, Output.MAXIMA)
    assert low.columns.sequence.tolist() == high.columns.sequence.tolist() == [7, 9]
    assert low.columns.value.tolist() == [1.0, 2.0]
    assert high.columns.value.tolist() == [4.0, 8.0]


def test_health_is_one_scalar_for_each_tag_and_step_in_order_of_emission() -> None:
    value = np.arange(8.0).reshape(4, 2)
    points = HealthPoints(np.array([10, 14]), np.array([1, 2]), np.array([5.0, 6.0]), value)
    (rows,) = rows_of(points, [])
    assert isinstance(rows, ScalarRows)
    assert rows.columns.sequence.tolist() == list(range(10, 18))
    assert rows.columns.step.tolist() == [1] * 4 + [2] * 4
    assert rows.columns.value.tolist() == [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]
    assert [OWN_TAGS[tag] for tag in rows.tag] == [*HEALTH_TAGS, *HEALTH_TAGS]
