"""Budgets that many share: whoever comes next finds room."""

from __future__ import annotations

import pytest
from boardd.core.shares import Places, Shares
from hypothesis import given
from hypothesis import strategies as st


def test_one_alone_gets_half_and_each_that_comes_half_of_what_is_left() -> None:
    shares = Shares(1024, floor_bytes=1)
    taken = []
    for number in range(5):
        taken.append(0)
        while shares.take(number, 1):
            taken[-1] += 1
    assert taken == [512, 256, 128, 64, 32]


def test_each_has_the_floor_whatever_others_hold() -> None:
    shares = Shares(1000, floor_bytes=10)
    assert shares.take("first", 1000)
    assert not shares.take("first", 1)
    assert not shares.take("second", 11)
    assert shares.take("second", 10)
    shares.give_back("first", 1000)
    assert shares.take("second", 400)
    shares.leave("second")
    assert shares.held_bytes == 0
    with pytest.raises(ValueError, match="1 bytes given back, 0 held"):
        shares.give_back("first", 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400), st.booleans()), max_size=60))
def test_shares_never_exceed_the_budget_by_more_than_the_floors(
    steps: list[tuple[int, int, bool]],
) -> None:
    shares, held = Shares(1000, floor_bytes=50), dict.fromkeys(range(10), 0)
    for holder, size_bytes, takes in steps:
        if not takes:
            shares.give_back(holder, held[holder])
            held[holder] = 0
        elif shares.take(holder, size_bytes):
            held[holder] += size_bytes
        assert shares.held_bytes == sum(held.values()) <= 1000 + len(held) * 50


def test_the_last_places_are_left_to_holders_of_few() -> None:
    places = Places(1024)
    taken = 0
    while places.take("greedy"):
        taken += 1
    assert taken == 1024 - 128
    for newcomer in range(8):
        assert [places.take(newcomer) for _ in range(17)] == [True] * 16 + [False]
    assert not places.take("ninth"), "the budget is spent"
    places.give_back("greedy")
    assert places.take("ninth")


def test_of_few_places_none_is_reserved() -> None:
    places = Places(10)
    assert [places.take("one") for _ in range(11)] == [True] * 10 + [False]
