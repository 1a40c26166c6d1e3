"""The threads that touch the file system, and what becomes of calls that hang."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable

import pytest
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.threads.writer_threads import WriterThreads

DEADLINE_SECS = 60.0
PLACES = 2
HANGING_SECS = 0.05


class Gate:
    """A file system that answers when it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)

    def hang(self) -> str:
        self.begun.release()
        assert self.opened.wait(DEADLINE_SECS)
        return "hung"


def run(
    test: Callable[[WriterThreads, Gate], Awaitable[None]],
    max_hanging: int = 64,
    hanging_secs: float = HANGING_SECS,
) -> None:
    async def main() -> None:
        threads, gate = WriterThreads(PLACES, hanging_secs, max_hanging), Gate()
        try:
            await asyncio.wait_for(test(threads, gate), DEADLINE_SECS)
        finally:
            gate.opened.set()
            threads.shutdown(cancel_futures=True)
        while any(item.name.startswith("boardd-write") for item in threading.enumerate()):
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECS))


async def begun(gate: Gate, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        assert await loop.run_in_executor(None, gate.begun.acquire, True, DEADLINE_SECS)


def ask(threads: WriterThreads, call: Callable[[], object]) -> asyncio.Future[object]:
    return asyncio.get_running_loop().run_in_executor(threads, call)


def test_calls_return_what_they_return_and_raise_what_they_raise() -> None:
    async def test(threads: WriterThreads, gate: Gate) -> None:
        found = await asyncio.gather(*(ask(threads, lambda n=n: n * n) for n in range(200)))
        assert found == [n * n for n in range(200)]
        with pytest.raises(OSError, match="no room"):
            await ask(threads, functools.partial(fail, OSError(28, "no room")))

    run(test)


def fail(error: Exception) -> None:
    raise error


def test_no_more_calls_are_made_at_once_than_there_are_places() -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def call() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.001)
        with lock:
            at_once -= 1

    async def test(threads: WriterThreads, gate: Gate) -> None:
        await asyncio.gather(*(ask(threads, call) for _ in range(100)))
        names = [item.name for item in threading.enumerate()]
        assert sum(name.startswith("boardd-write") for name in names) <= PLACES
        assert most == PLACES

    run(test, hanging_secs=DEADLINE_SECS)  # a busy machine pauses calls that do not hang


def test_an_owner_with_many_calls_delays_anothers_by_one_for_each_place() -> None:
    async def test(threads: WriterThreads, gate: Gate) -> None:
        made: list[str] = []
        held = [ask(threads, gate.hang) for _ in range(PLACES)]
        await begun(gate, PLACES)
        calls = [threads.of(lambda: "flood").submit(made.append, "flood") for _ in range(100)]
        calls += [threads.of(lambda: "other").submit(made.append, f"other {n}") for n in range(2)]
        gate.opened.set()
        await asyncio.gather(*held, *map(asyncio.wrap_future, calls))
        assert made.index("other 0") <= PLACES
        assert made.index("other 1") <= 2 * PLACES + 1

    run(test, hanging_secs=DEADLINE_SECS)


def test_calls_that_hang_hold_no_other_up() -> None:
    async def test(threads: WriterThreads, gate: Gate) -> None:
        hung = [ask(threads, gate.hang) for _ in range(10)]
        behind = [ask(threads, lambda n=n: n) for n in range(20)]
        assert await asyncio.gather(*behind) == list(range(20))
        await begun(gate, 10)
        assert threads.hanging >= 10 - PLACES
        assert not any(call.done() for call in hung)
        gate.opened.set()
        assert await asyncio.gather(*hung) == ["hung"] * 10
        while threads.hanging:  # a thread says so after its call's result
            await asyncio.sleep(0.001)
        # Their threads went with them.
        assert await asyncio.gather(*(ask(threads, lambda n=n: n) for n in range(20)))

    run(test)


def test_the_calls_that_hang_are_bounded() -> None:
    async def test(threads: WriterThreads, gate: Gate) -> None:
        hung = [ask(threads, gate.hang) for _ in range(9)]
        await begun(gate, PLACES + 3)
        behind = ask(threads, lambda: "behind")
        await asyncio.sleep(6 * HANGING_SECS)
        assert not gate.begun.acquire(blocking=False)
        assert not behind.done()
        gate.opened.set()
        assert await behind == "behind"
        await asyncio.gather(*hung)

    run(test, max_hanging=3)


def test_brief_calls_go_on_however_many_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardd.runs.threads.brief_calls.HANGING_SECS", HANGING_SECS)

    async def test(threads: WriterThreads, gate: Gate) -> None:
        calls = BriefCalls(threads, PLACES)
        try:
            hung = [asyncio.ensure_future(calls.run(gate.hang)) for _ in range(3 * PLACES)]
            await begun(gate, 3 * PLACES)
            for number in range(5):
                assert await calls.run(lambda number=number: number) == number
            gate.opened.set()
            assert await asyncio.gather(*hung) == ["hung"] * 3 * PLACES
        finally:
            calls.close()

    run(test)


def test_nothing_is_begun_after_shutdown() -> None:
    async def test(threads: WriterThreads, gate: Gate) -> None:
        hung = [ask(threads, gate.hang) for _ in range(PLACES)]
        waiting = ask(threads, lambda: "waiting")
        await begun(gate, PLACES)
        threads.shutdown(cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError, match="shutdown"):
            ask(threads, lambda: 1)
        gate.opened.set()
        assert await asyncio.gather(*hung) == ["hung"] * PLACES

    run(test)
