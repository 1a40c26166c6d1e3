"""Reductions wait until the memory that they are estimated to take is free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from boardd.runs.writing.reduction_memory import SMALL_BYTES, ReductionMemory

DEADLINE_SECS = 30.0
UNIT = SMALL_BYTES


class Reductions:
    """Reductions that begin when there is room, and end when they are told."""

    def __init__(self, memory: ReductionMemory, threads: ThreadPoolExecutor) -> None:
        self._memory = memory
        self._threads = threads
        self.most_bytes = 0

    def begin(self, size_bytes: int) -> tuple[threading.Event, Callable[[], None]]:
        """Returns what is set when it has room, and what ends it."""
        begun, told = threading.Event(), threading.Event()

        def reduce() -> None:
            with self._memory.holding(size_bytes):
                self.most_bytes = max(self.most_bytes, self._memory.held_bytes)
                begun.set()
                assert told.wait(DEADLINE_SECS)

        done: Future[None] = self._threads.submit(reduce)

        def end() -> None:
            told.set()
            done.result(DEADLINE_SECS)

        return begun, end


@pytest.fixture
def reductions():
    with ThreadPoolExecutor(8) as threads:
        yield Reductions(ReductionMemory(4 * UNIT), threads)


def test_what_finds_no_room_waits_in_turn_and_what_is_small_does_not(
    reductions: Reductions,
) -> None:
    first, end_first = reductions.begin(3 * UNIT)
    assert first.wait(DEADLINE_SECS)
    large, end_large = reductions.begin(9 * UNIT)
    small, end_small = reductions.begin(UNIT - 1)
    assert small.wait(DEADLINE_SECS)
    end_small()
    # There is room for this one, and the large one would wait for ever for such.
    next_one, end_next = reductions.begin(UNIT)
    assert not large.is_set()
    assert not next_one.is_set()
    end_first()
    assert large.wait(DEADLINE_SECS)
    assert not next_one.is_set(), "one larger than the budget is made alone"
    end_large()
    assert next_one.wait(DEADLINE_SECS)
    end_next()
    assert reductions.most_bytes == 9 * UNIT


def test_those_that_fit_are_made_beside_each_other(reductions: Reductions) -> None:
    begun = [reductions.begin(UNIT) for _ in range(4)]
    for has_room, _ in begun:
        assert has_room.wait(DEADLINE_SECS)
    last, end_last = reductions.begin(UNIT)
    assert not last.is_set()
    begun[0][1]()
    assert last.wait(DEADLINE_SECS)
    for _, end in begun[1:]:
        end()
    end_last()
    assert reductions.most_bytes == 4 * UNIT


def test_what_a_reduction_held_is_free_after_its_error() -> None:
    memory = ReductionMemory(4 * UNIT)
    with pytest.raises(RuntimeError), memory.holding(2 * UNIT):
        raise RuntimeError
    assert memory.held_bytes == 0
