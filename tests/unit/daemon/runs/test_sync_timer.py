"""Which runs are synced by time, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from boardd.core.runs.run_state import RunState
from boardd.runs import sync_timer
from boardd.runs.sync_timer import PARALLEL, SyncTimer

DEADLINE_SECS = 60.0


class Disk:
    """Notes what is synced and when; a run hangs as long as it is in ``hanging``."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.begun: list[float] = []
        self.at_once = self.most_at_once = 0
        self.hanging: set[str] = set()
        self.timer = SyncTimer(self.sync)

    async def sync(self, run: RunState) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.001)
        while run.path in self.hanging:
            await asyncio.sleep(0.001)
        self.at_once -= 1
        self.synced.append(run.path)

    async def until(self, *paths: str) -> None:
        while sorted(self.synced) != sorted(paths):
            await asyncio.sleep(0.001)


def new_run(path: str) -> RunState:
    return RunState(path, path, "", 10)


def run(test: Callable[[Disk], Awaitable[None]]) -> None:
    async def main() -> None:
        disk = Disk()
        await asyncio.wait_for(test(disk), DEADLINE_SECS)
        disk.timer.close()

    asyncio.run(main())


def test_what_is_written_is_synced_once_and_in_time() -> None:
    async def test(disk: Disk) -> None:
        begin, first = asyncio.get_running_loop().time(), new_run("a")
        for _ in range(10):
            disk.timer.wrote(first, 0.2)
            await asyncio.sleep(0)
        assert first in disk.timer
        await disk.until("a")
        assert disk.begun[0] - begin > 0.15
        assert first not in disk.timer
        disk.timer.wrote(first, 0.05)
        await disk.until("a", "a")

    run(test)


def test_a_run_that_is_due_earlier_is_synced_earlier() -> None:
    async def test(disk: Disk) -> None:
        disk.timer.wrote(new_run("late"), 3600.0)
        disk.timer.wrote(new_run("early"), 0.05)
        await disk.until("early")

    run(test)


def test_many_runs_go_together_and_few_at_a_time() -> None:
    async def test(disk: Disk) -> None:
        for number in range(100):
            disk.timer.wrote(new_run(str(number)), 0.1)
        await disk.until(*map(str, range(100)))
        assert disk.most_at_once == PARALLEL

    run(test)


def test_runs_whose_disk_hangs_hold_no_other_up(monkeypatch) -> None:
    monkeypatch.setattr(sync_timer, "PATIENCE_SECS", 0.05)

    async def test(disk: Disk) -> None:
        hung = [new_run(f"hung {number}") for number in range(2 * PARALLEL)]
        disk.hanging = {one.path for one in hung}
        for one in (*hung, new_run("a"), new_run("b")):
            disk.timer.wrote(one, 0.05)
        await disk.until("a", "b")
        # Nor are they asked for again before they have answered.
        disk.timer.wrote(hung[0], 0.05)
        await asyncio.sleep(0.2)
        assert len(disk.begun) == len(hung) + 2
        disk.hanging.clear()
        await disk.until("a", "b", *(one.path for one in hung), hung[0].path)

    run(test)
