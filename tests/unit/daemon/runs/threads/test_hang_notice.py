"""When a call is one that hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine

import pytest
from boardd.runs.threads import hang_notice
from boardd.runs.threads.hang_notice import HangNotice
from support.waiting import until

SECS = 0.1


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hang_notice, "HANGING_SECS", SECS)


def on_loop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120.0))


def test_a_call_that_does_not_return_hangs() -> None:
    async def test() -> None:
        told: list[str] = []
        gate = threading.Event()
        notice = HangNotice(lambda: told.append("hangs"))

        def hang() -> None:
            with notice.call():
                gate.wait(60.0)

        with notice.watching():
            call = asyncio.get_running_loop().run_in_executor(None, hang)
            await until(lambda: bool(told))
            gate.set()
            await call
        assert told == ["hangs"]

    on_loop(test)


def test_what_comes_before_the_call_does_not_count() -> None:
    async def test() -> None:
        told: list[str] = []
        gate = threading.Event()
        notice = HangNotice(lambda: told.append("hangs"))

        def call_late() -> None:
            time.sleep(3 * SECS)
            with notice.call():
                pass
            time.sleep(3 * SECS)
            with notice.call():
                gate.wait(60.0)

        begun = time.monotonic()
        with notice.watching():
            call = asyncio.get_running_loop().run_in_executor(None, call_late)
            await until(lambda: bool(told))
            assert time.monotonic() - begun >= 7 * SECS
            gate.set()
            await call

    on_loop(test)
