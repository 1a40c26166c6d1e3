"""Arrays of ranks and tags: what they cost depends on how many there are, and not on how large."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.core.groups.contributions import Contributions, scalar_points
from boardd.core.groups.entries import Closed
from boardd.core.groups.keys import numbered
from boardd.core.groups.positions import Positions

#: A table of all ranks below it takes more memory than there is.
HIGH_RANK = 1 << 45


@pytest.mark.parametrize("highest", [3, 63 * 5, HIGH_RANK])
def test_numbers_and_their_places(highest: int) -> None:
    numbers = np.array([2, highest, 0, 2, highest], np.intp)
    different, place = numbered(numbers)
    assert different.tolist() == [0, 2, highest]
    assert place.tolist() == [1, 2, 0, 1, 2]
    assert numbered(np.array([7], np.intp))[0].tolist() == [7]


def test_high_ranks_go_on_together() -> None:
    positions, ranks = Positions(), np.array([HIGH_RANK, 1], np.intp)
    for rank in ranks.tolist():
        positions.advance_one(rank, 0, 1)
    assert positions.advance_together(ranks, np.array([0, 0], np.intp), 2)
    assert [positions.top(rank) for rank in ranks.tolist()] == [2, 2]


def test_points_of_high_ranks() -> None:
    ranks, values = np.array([HIGH_RANK, 1], np.intp), np.array([3.0, 4.0])
    one = np.zeros(1, np.int64)
    entry = Closed(1, one, one, one.astype(np.intp))
    contributions = Contributions(np.zeros(2, np.intp), ranks, values, values)
    points, places = scalar_points(entry, contributions)
    assert points.rank.tolist() == [1, HIGH_RANK]
    assert points.value.tolist() == [[4.0], [3.0]]
    assert places.tolist() == [0]
