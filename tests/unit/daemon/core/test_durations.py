"""Durations are counted once each, in their bound, from any thread."""

from __future__ import annotations

import threading

import pytest
from boardd.core.durations import UPPER_SECS, Durations


def test_a_bound_belongs_to_what_is_below_it() -> None:
    durations = Durations()
    for secs in (0.0, UPPER_SECS[0], UPPER_SECS[0] * 1.5, UPPER_SECS[-1], 1e9):
        durations.add(secs)
    durations.add(UPPER_SECS[1] * 4, 4)
    counts, sum_secs = durations.snapshot()
    assert counts == [2, 5, 0, 0, 0, 1, 1]
    assert sum_secs == pytest.approx(1e9 + 10, abs=0.1)


def test_no_thread_loses_a_count() -> None:
    durations = Durations()

    def add() -> None:
        for _ in range(2000):
            durations.add(0.5)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts, sum_secs = durations.snapshot()
    assert (sum(counts), sum_secs) == (8000, 4000.0)
