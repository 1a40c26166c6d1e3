"""Waiting for a condition: who is woken, when, and what a timeout returns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from boardd.sessions.notice import Notice
from support.service_reading import run_async


def test_a_condition_that_holds_returns_without_a_pause() -> None:
    waiting = Notice().wait(lambda: True, 0.0)
    with pytest.raises(StopIteration) as stop:
        waiting.send(None)
    assert stop.value.value is True


def test_a_notice_wakes_all_whose_condition_holds(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        notice, count = Notice(), 0
        ones = [asyncio.create_task(notice.wait(lambda: count >= 1)) for _ in range(2)]
        two = asyncio.create_task(notice.wait(lambda: count >= 2))
        await asyncio.wait({*ones, two}, timeout=0.01)
        notice.notify()
        await asyncio.wait({*ones, two}, timeout=0.01)
        assert not any(task.done() for task in (*ones, two)), "none of them holds"
        count = 1
        notice.notify()
        assert await asyncio.gather(*ones) == [True, True]
        assert not two.done()
        count = 2
        notice.notify()
        assert await two is True

    run_async(test, tmp_path)


def test_a_change_without_a_notice_wakes_nobody(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        notice, state = Notice(), [False]
        waiting = asyncio.create_task(notice.wait(lambda: state[0]))
        await asyncio.wait({waiting}, timeout=0.01)
        state[0] = True
        await asyncio.wait({waiting}, timeout=0.01)
        assert not waiting.done()
        notice.notify()
        assert await waiting is True

    run_async(test, tmp_path)


@pytest.mark.parametrize("timeout_secs", [0.01, 0.0, -1.0])
def test_a_condition_that_never_holds_times_out(timeout_secs: float, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        assert await Notice().wait(lambda: False, timeout_secs) is False

    run_async(test, tmp_path)


def test_a_condition_that_holds_at_the_timeout_has_held_in_time(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        clock = asyncio.get_running_loop().time
        begins = clock() + 0.005  # and nobody notifies
        assert await Notice().wait(lambda: clock() >= begins, 0.02) is True

    run_async(test, tmp_path)
