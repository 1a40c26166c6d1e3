from __future__ import annotations

import numpy as np
from boardd.core.runs.series import Series, SeriesTable
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(NUMBERS, max_size=20), max_size=4), st.lists(NUMBERS, max_size=5))
def test_one_series_is_found_as_many_are(added: list[set[int]], others: list[int]) -> None:
    table, model = SeriesTable(), dict[int, Series]()
    for numbers in added:
        for number in numbers - model.keys():
            model[number] = Series(len(model), 2 * len(model), len(model) % 2)
            table.add(number, model[number])
        wanted = [*model, *others, 0, 2**32 - 1]
        found = [table.find_one(number) for number in wanted]
        assert found == [model.get(number) for number in wanted]
        known, *columns = table.find(np.array(wanted, np.uint32))
        assert known.tolist() == [one is not None for one in found]
        assert np.array(columns).T.tolist() == [list(one or (0, 0, 0)) for one in found]


def test_more_series_are_found_than_are_kept() -> None:
    table = SeriesTable()
    series = [Series(number, number + 1, 0) for number in range(5000)]
    for number, one in enumerate(series):
        table.add(number, one)
    for _ in range(2):
        assert [table.find_one(number) for number in range(5000)] == series
