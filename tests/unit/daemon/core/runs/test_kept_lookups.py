"""What is kept of one step for the next is what is looked up anew."""

from __future__ import annotations

import numpy as np
from boardd.core.runs.own_run import TagMap
from boardd.core.runs.series import Series, SeriesTable


def test_series_that_are_asked_for_again_are_the_same_arrays_until_the_table_changes() -> None:
    table = SeriesTable()
    for number in range(4):
        table.add(number, Series(7, 10 + number, 0))
    asked = np.array([2, 0, 5], np.uint32)
    found = table.find(asked)
    assert all(one is other for one, other in zip(found, table.find(asked.copy()), strict=True))
    assert not any(column.flags.writeable for column in found)
    assert found[0].tolist() == [True, True, False]
    table.add(5, Series(7, 15, 0))
    assert table.find(asked)[2].tolist() == [12, 10, 15]
    table.remove([0])
    assert table.find(asked)[0].tolist() == [True, False, True]
    assert table.find(asked[:1])[2].tolist() == [12]


def test_a_rank_s_own_tags_are_looked_up_anew_once_a_tag_is_added() -> None:
    tags = TagMap()
    for merged, own in ((0, 5), (1, 6)):
        tags.add(merged, own)
    asked = np.array([1, 0])
    asked.flags.writeable = False
    assert tags.of(asked).tolist() == [6, 5]
    assert tags.of(asked) is tags.of(asked)
    tags.add(0, 9)
    assert tags.of(asked).tolist() == [6, 9]
    changing = np.array([0, 0])
    assert tags.of(changing).tolist() == [9, 9]
    changing[0] = 1
    assert tags.of(changing).tolist() == [6, 9]
