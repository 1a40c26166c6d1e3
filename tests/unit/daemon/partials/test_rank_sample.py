"""A sample of ranks is the same in any order of merges, keeps to its budget, and is even."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from boardd.partials.rank_sample import RankSample, place_of


@dataclasses.dataclass(frozen=True)
class Item:
    rank: int
    order: int
    size_bytes: int


@pytest.mark.parametrize("seed", range(100))
def test_any_order_of_merges_keeps_the_same_ranks(seed: int) -> None:
    random = np.random.default_rng(seed)
    budget = int(random.integers(1, 60))
    items = [
        Item(int(rank), number, int(random.integers(0, 20)))
        for number, rank in enumerate(random.integers(0, 12, int(random.integers(1, 15))))
    ]
    expected = merged([RankSample((item,)) for item in items], random, budget)
    for _ in range(4):
        again = merged([RankSample((item,)) for item in items], random, budget)
        assert (again.items, again.limit) == (expected.items, expected.limit)
    kept = {item.rank for item in expected.items}
    assert place_of(min((item.rank for item in items), key=place_of)) in map(place_of, kept)
    assert len(kept) == 1 or sum(item.size_bytes for item in expected.items) <= budget
    assert (expected.limit is None) == (len(expected.items) == len(items))
    left_out = {item.rank for item in items} - kept
    assert all(place_of(rank) >= (expected.limit or 0) for rank in left_out)


def merged(
    pool: list[RankSample[Item]], random: np.random.Generator, budget: int
) -> RankSample[Item]:
    while len(pool) > 1:
        one = pool.pop(int(random.integers(len(pool))))
        other = pool.pop(int(random.integers(len(pool))))
        pool.append(one.merge(other, budget))
    return pool[0]


def test_a_sample_is_spread_over_the_ranks() -> None:
    whole = RankSample((Item(0, 0, 1),))
    for rank in range(1, 64):
        whole = whole.merge(RankSample((Item(rank, 0, 1),)), 4)
    assert [item.rank for item in whole.by_rank()] == [0, 16, 32, 48]
