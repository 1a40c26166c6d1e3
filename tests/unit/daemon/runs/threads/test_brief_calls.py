"""Brief calls share a thread; one that hangs holds no other up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from boardd.runs.threads.brief_calls import BriefCalls

DEADLINE_SECS = 60.0


class CountedThreads(ThreadPoolExecutor):
    """Counts what is submitted."""

    submitted = 0

    def submit(self, *arguments: Any, **options: Any) -> Any:
        self.submitted += 1
        return super().submit(*arguments, **options)


def run(
    test: Callable[[BriefCalls, CountedThreads], Awaitable[None]], max_threads: int = 2
) -> None:
    async def main() -> None:
        with CountedThreads(max_threads) as threads:
            calls = BriefCalls(threads, max_threads)
            try:
                await asyncio.wait_for(test(calls, threads), DEADLINE_SECS)
            finally:
                calls.close()

    asyncio.run(main())


def test_calls_of_one_turn_share_a_thread_and_each_has_its_own_result():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        made: list[tuple[int, str]] = []

        def call(number: int) -> int:
            made.append((number, threading.current_thread().name))
            return number * number

        found = await asyncio.gather(*(calls.run(lambda n=n: call(n)) for n in range(100)))
        assert found == [number * number for number in range(100)]
        assert [number for number, _ in made] == list(range(100))
        assert threading.current_thread().name not in {name for _, name in made}
        # At most one to help out, on a machine that is busy.
        assert threads.submitted <= 2

    run(test)


def test_what_a_call_raises_is_raised_to_who_waits_and_to_nobody_else():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        def fail() -> None:
            raise OSError(28, "no room")

        found = await asyncio.gather(
            calls.run(lambda: 1), calls.run(fail), calls.run(lambda: 3), return_exceptions=True
        )
        assert [found[0], found[2]] == [1, 3]
        assert isinstance(found[1], OSError)
        assert found[1].errno == 28
        assert await calls.run(lambda: 4) == 4

    run(test)


def test_a_call_that_hangs_holds_no_other_up():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        go_on = threading.Event()
        try:
            before = asyncio.ensure_future(calls.run(lambda: "before"))
            hung = asyncio.ensure_future(calls.run(lambda: go_on.wait(DEADLINE_SECS)))
            behind = [asyncio.ensure_future(calls.run(lambda n=n: n)) for n in range(20)]
            assert await asyncio.gather(before, *behind) == ["before", *range(20)]
            # Also those that are asked for later.
            assert await calls.run(lambda: "later") == "later"
            assert not hung.done()
        finally:
            go_on.set()
        assert await hung

    run(test)


def test_all_goes_on_when_every_thread_was_held_up():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        go_on, hanging = threading.Event(), threading.Semaphore(0)

        def hang() -> bool:
            hanging.release()
            return go_on.wait(DEADLINE_SECS)

        tasks = [asyncio.ensure_future(calls.run(hang)) for _ in range(2)]
        behind = asyncio.ensure_future(calls.run(lambda: "behind"))
        try:
            loop = asyncio.get_running_loop()
            for _ in tasks:
                assert await loop.run_in_executor(None, hanging.acquire, True, DEADLINE_SECS)
            assert not behind.done()
        finally:
            go_on.set()
        assert await asyncio.gather(*tasks) == [True, True]
        assert await behind == "behind"

    run(test)


def test_a_waiter_that_is_cancelled_takes_nothing_from_the_others():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        go_on = threading.Event()
        first = asyncio.ensure_future(calls.run(lambda: go_on.wait(DEADLINE_SECS)))
        second = asyncio.ensure_future(calls.run(lambda: 2))
        await asyncio.sleep(0)
        first.cancel()
        go_on.set()
        assert await second == 2
        with pytest.raises(asyncio.CancelledError):
            await first

    run(test)


def test_nothing_is_begun_after_close():
    async def test(calls: BriefCalls, threads: CountedThreads) -> None:
        calls.close()
        with pytest.raises(RuntimeError, match="close"):
            await calls.run(lambda: 1)
        assert threads.submitted == 0

    run(test)
