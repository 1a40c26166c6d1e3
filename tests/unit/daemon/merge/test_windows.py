from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from boardd.merge.rows import Rows
from boardd.merge.values import Content
from boardd.merge.windows import Points, Windows

#: A value: its tag and step.
Logged = tuple[int, int]
Key = tuple[int, int]


def rows_of(logged: list[Logged], values: list[float], *, has_contents: bool = False) -> Rows:
    tags, steps = np.array(logged, np.int64).reshape(-1, 2).T
    count = len(logged)
    return Rows(
        True,
        np.arange(count),
        tags.astype(np.intp),
        np.zeros(count, np.intp),
        steps,
        np.array(values) + 1000,
        np.array(values, float),
        np.arange(count) if has_contents else np.full(count, -1, np.intp),
        np.zeros(count, np.intp),
        [Content(graph_def=repr(value).encode()) for value in values] if has_contents else [],
        [],
    )


def found(points: Points) -> list[tuple[int, Key, dict[int, float]]]:
    """Of each point, its tag, key, and each rank's value."""
    assert np.array_equal(points.wall_time[points.present], points.value[points.present] + 1000)
    assert not points.value[~points.present].any()
    if points.contents:
        for number, contents in enumerate(points.contents):
            ranks = np.flatnonzero(points.present[:, number])
            assert sorted(contents) == ranks.tolist()
            for rank, content in contents.items():
                assert content.graph_def == repr(float(points.value[rank, number])).encode()
    return [
        (
            points.tag,
            (step, nth),
            {
                int(rank): float(points.value[rank, number])
                for rank in np.flatnonzero(points.present[:, number])
            },
        )
        for number, (step, nth) in enumerate(
            zip(points.step.tolist(), points.nth.tolist(), strict=True)
        )
    ]


def left_of(ranks: list[list[Logged]], tags: int) -> np.ndarray:
    return np.array(
        [[sum(tag == one for one, _ in logged) for tag in range(tags)] for logged in ranks]
    )


def read(windows: Windows, rank: int, logged: list[Logged], values: list[float]) -> None:
    rows = rows_of(logged, values)
    windows.passed(rank, rows.tag)
    windows.add(rank, rows)


def closed(windows: Windows) -> list[tuple[int, Key, dict[int, float]]]:
    return [point for points in windows.closed() for point in found(points)]


def test_a_point_waits_for_each_rank_that_still_has_values_of_its_tag() -> None:
    ranks: list[list[Logged]] = [[(0, 1), (0, 2), (0, 3)], [(0, 1), (0, 3)]]
    windows = Windows(left_of(ranks, 1))
    read(windows, 0, ranks[0][:2], [1.0, 2.0])
    assert closed(windows) == []
    read(windows, 1, ranks[1][:1], [10.0])
    assert closed(windows) == []  # both may have more at step 1
    read(windows, 1, ranks[1][1:], [30.0])
    # Rank 1 has no more, and rank 0 is past step 1.
    assert closed(windows) == [(0, (1, 0), {0: 1.0, 1: 10.0})]
    read(windows, 0, ranks[0][2:], [3.0])
    assert closed(windows) == [(0, (2, 0), {0: 2.0}), (0, (3, 0), {0: 3.0, 1: 30.0})]
    assert windows.size_bytes == 0


def test_a_tag_of_one_rank_waits_for_nobody() -> None:
    windows = Windows(np.array([[0, 2], [5, 0]]))
    read(windows, 0, [(1, 7), (1, 8)], [1.0, 2.0])
    assert closed(windows) == [(1, (7, 0), {0: 1.0}), (1, (8, 0), {0: 2.0})]


def test_repeated_steps_merge_with_their_like() -> None:
    ranks: list[list[Logged]] = [[(0, 0)] * 3, [(0, 0)] * 2]
    windows = Windows(left_of(ranks, 1))
    read(windows, 0, [(0, 0)], [1.0])
    read(windows, 0, [(0, 0)] * 2, [2.0, 3.0])
    read(windows, 1, [(0, 0)] * 2, [10.0, 20.0])
    assert closed(windows) == [
        (0, (0, 0), {0: 1.0, 1: 10.0}),
        (0, (0, 1), {0: 2.0, 1: 20.0}),
        (0, (0, 2), {0: 3.0}),
    ]


def test_the_rank_that_most_memory_waits_for_is_told() -> None:
    windows = Windows(np.array([[9, 9], [9, 9], [9, 9]]))
    read(windows, 0, [(0, step) for step in range(5)], [0.0] * 5)
    read(windows, 2, [(0, 1)], [0.0])
    read(windows, 1, [(1, 1)], [0.0])
    assert windows.holding() == 1


@pytest.mark.parametrize("has_contents", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_any_order_of_reading_gives_all_points_in_order(seed: int, has_contents: bool) -> None:
    chosen = random.Random(seed)
    tags, count = chosen.randint(1, 3), chosen.randint(1, 5)
    ranks: list[list[Logged]] = []
    for _ in range(count):
        of_tags = [
            [(tag, step) for step in sorted(chosen.choices(range(6), k=chosen.randint(0, 9)))]
            for tag in range(tags)
        ]
        logged: list[Logged] = []
        while any(of_tags):
            logged.append(chosen.choice([one for one in of_tags if one]).pop(0))
        ranks.append(logged)
    expected: dict[int, dict[Key, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    values = iter(range(1, 10_000))
    valued: list[list[tuple[Logged, float]]] = []
    for rank, logged in enumerate(ranks):
        times: dict[Logged, int] = defaultdict(int)
        valued.append([])
        for tag, step in logged:
            value = float(next(values))
            expected[tag][step, times[tag, step]][rank] = value
            times[tag, step] += 1
            valued[rank].append(((tag, step), value))

    windows = Windows(left_of(ranks, tags))
    points: dict[int, list[tuple[Key, dict[int, float]]]] = defaultdict(list)
    while any(valued):
        rank = chosen.choice([one for one in range(count) if valued[one]])
        size = chosen.randint(1, 6)
        piece, valued[rank] = valued[rank][:size], valued[rank][size:]
        rows = rows_of(
            [one[0] for one in piece], [one[1] for one in piece], has_contents=has_contents
        )
        windows.passed(rank, rows.tag)
        windows.add(rank, rows)
        if chosen.random() < 0.7:
            for tag, key, by_rank in closed(windows):
                points[tag].append((key, by_rank))
    for tag, key, by_rank in closed(windows):
        points[tag].append((key, by_rank))
    assert {tag: [key for key, _ in found] for tag, found in points.items()} == {
        tag: sorted(keys) for tag, keys in expected.items()
    }
    assert {tag: dict(found) for tag, found in points.items()} == expected
    assert windows.size_bytes == 0
