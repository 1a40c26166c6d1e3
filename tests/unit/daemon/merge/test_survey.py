from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from boardd.merge.rows import Rows
from boardd.merge.survey import Rewinds, Survey

#: A value: its tag and step. None: a session starts at the step behind it.
Logged = tuple[int | None, int]


def rows_of(process: int, first: int, logged: Sequence[Logged], *, is_ours: bool = True) -> Rows:
    values = [(first + at, tag, step) for at, (tag, step) in enumerate(logged) if tag is not None]
    starts = [(first + at, step) for at, (tag, step) in enumerate(logged) if tag is None]
    record, tags, steps = np.array(values, np.int64).reshape(-1, 3).T
    count = len(values)
    return Rows(
        is_ours,
        record,
        tags.astype(np.intp),
        np.zeros(count, np.intp),
        steps,
        np.full(count, 1e9),
        np.zeros(count),
        np.full(count, -1, np.intp),
        np.full(count, process, np.intp),
        [],
        starts,
    )


def kept(files: Sequence[Sequence[Logged]], *, is_ours: bool = False, piece: int = 3) -> list[int]:
    """The records that are not out of date; each file is another process."""
    survey = Survey()
    pieces = []
    first = 0
    for process, logged in enumerate(files):
        for begin in range(0, len(logged), piece):
            part = logged[begin : begin + piece]
            pieces.append(rows_of(process, first, part, is_ours=is_ours))
            survey.add(pieces[-1])
            first += len(logged[begin : begin + piece])
    return [int(record) for rows in pieces for record in rows.record[~survey.stale(rows)]]


def expected(files: Sequence[Sequence[Logged]], *, is_ours: bool) -> list[int]:
    """The same, value by value: each throws out what it makes out of date."""
    left: list[tuple[int, int, int]] = []
    last: dict[int, tuple[int, int]] = {}
    record = 0
    restarted = 0
    restart_step = highest = -(1 << 63)
    start_step = float("inf")
    for process, logged in enumerate(files):
        for tag, step in logged:
            if tag is None:
                start_step = step
                left = [one for one in left if one[2] < step]
            else:
                if tag in last:
                    last_process, last_step = last[tag]
                    is_again = process > last_process and step == last_step
                    before = highest if process > restarted else restart_step
                    if is_ours and is_again and step < min(before, start_step):
                        highest = max(highest, step)
                        last[tag] = process, step
                        record += 1
                        continue
                    if step < last_step or is_again:
                        is_of_all = is_ours and process > restarted
                        if is_of_all:
                            restarted, restart_step, highest = process, step, step - 1
                        left = [
                            one
                            for one in left
                            if one[2] < step or (one[1] != tag and not is_of_all)
                        ]
                highest = max(highest, step)
                last[tag] = process, step
                left.append((record, tag, step))
            record += 1
    return [one[0] for one in left]


@pytest.mark.parametrize(
    ("files", "records"),
    [
        ([[(0, 1), (0, 2), (0, 3)]], [0, 1, 2]),
        ([[(0, 1), (0, 2), (0, 3)], [(0, 2), (0, 3)]], [0, 3, 4]),
        ([[(0, 1), (1, 5), (0, 3)], [(0, 2)]], [0, 1, 3]),
        ([[(0, 1), (1, 5), (0, 3)], [(None, 2), (0, 2)]], [0, 4]),
        ([[(0, 1), (0, 1), (0, 1)]], [0, 1, 2]),
        ([[(0, 1)], [(0, 1)]], [1]),
        ([[(None, 0), (0, 1), (0, 2)]], [1, 2]),
        ([[(0, 5), (0, 9)], [(0, 7), (0, 8)], [(0, 8), (0, 9)]], [0, 2, 4, 5]),
    ],
)
def test_a_restart_makes_what_it_overtakes_out_of_date(
    files: list[list[Logged]], records: list[int]
) -> None:
    assert kept(files) == records == expected(files, is_ours=False)


def test_our_own_next_process_goes_back_with_all_tags() -> None:
    files: list[list[Logged]] = [[(0, 1), (0, 2), (1, 3)], [(0, 1), (0, 2)]]
    assert kept(files, is_ours=True) == [3, 4]
    assert kept(files, is_ours=False) == [2, 3, 4]


def test_what_our_own_next_process_only_logs_again_is_left_out() -> None:
    """As in the daemon, to which a setting at step 0 is late."""
    files: list[list[Logged]] = [[(1, 0), (0, 1), (0, 2)], [(1, 0), (0, 2), (0, 3)]]
    assert kept(files, is_ours=True) == [0, 1, 4, 5]
    assert kept(files, is_ours=False) == [1, 3, 4, 5]


def test_of_two_processes_in_turns_the_later_one_goes_back_once() -> None:
    survey = Survey()
    rows = rows_of(0, 0, [(0, 1), (0, 1), (0, 1), (0, 2), (0, 2)])
    rows = rows._replace(process=np.array([0, 1, 0, 0, 1]))
    survey.add(rows)
    assert survey.stale(rows).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("seed", range(200))
def test_any_history_leaves_what_value_by_value_would(seed: int) -> None:
    chosen = random.Random(seed)
    files: list[list[Logged]] = [
        [
            (None if chosen.random() < 0.05 else chosen.randrange(3), chosen.randrange(8))
            for _ in range(chosen.randrange(12))
        ]
        for _ in range(chosen.randrange(1, 4))
    ]
    is_ours = chosen.random() < 0.5
    piece = chosen.randrange(1, 6)
    assert kept(files, is_ours=is_ours, piece=piece) == expected(files, is_ours=is_ours)


def test_what_a_later_rewind_covers_is_not_kept() -> None:
    rewinds = Rewinds()
    for record in range(1000):
        rewinds.add(record, 1000 - record)
    assert len(rewinds) == 1


def test_values_are_counted_and_have_their_first_kind() -> None:
    survey = Survey()
    survey.add(rows_of(0, 0, [(2, 1), (2, 2), (0, 1)]))
    survey.add(rows_of(0, 3, [(2, 3)]))
    assert survey.counts[:3].tolist() == [1, 0, 3]
    assert survey.kinds[:3].tolist() == [0, -1, 0]
