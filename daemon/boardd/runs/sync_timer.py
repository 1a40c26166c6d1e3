"""Makes runs durable by time: each so long after it was written, at the latest.

Many runs are due at once, so they are synced one after the other, a few at a time. One that
takes longer than a second is no longer waited for, and holds up no other.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from boardd.core.runs.run_state import RunState

#: Runs that are synced at a time.
PARALLEL: Final = 4
#: Seconds after which a sync is no longer waited for.
PATIENCE_SECS: Final = 1.0


class SyncTimer:
    """Calls ``sync`` for each run that is due. For the event loop's thread only.

    A sync begins a tenth of its time before it is due, so as to be done then; one that is
    to begin within another tenth goes along.
    """

    def __init__(self, sync: Callable[[RunState], Coroutine[Any, Any, object]]) -> None:
        self._sync = sync
        #: Runs with something to be made durable: when that is to begin, and its time.
        self._due: dict[RunState, tuple[float, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[RunState] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._syncing: dict[RunState, asyncio.Task[object]] = {}

    def __contains__(self, run: RunState) -> bool:
        """Whether ``run`` is waited for already."""
        return run in self._due

    def wrote(self, run: RunState, secs: float) -> None:
        """Something was written to ``run``, to be durable in ``secs``."""
        if run not in self._due:
            begin = asyncio.get_running_loop().time() + 0.9 * secs
            self._due[run] = begin, secs
            self._set_timer(begin)

    def close(self) -> None:
        """Syncs no more."""
        self._due.clear()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in (*self._workers, *self._syncing.values()):
            task.cancel()

    def _set_timer(self, begin: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= begin:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(begin, self._begin)

    def _begin(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for run, (begin, secs) in list(self._due.items()):
            if begin > now + 0.1 * secs:
                continue
            if run in self._syncing:  # it hangs, and what was written since is next
                self._due[run] = now + secs, secs
                continue
            del self._due[run]
            self._waiting.append(run)
        while len(self._workers) < min(PARALLEL, len(self._waiting)):
            worker = loop.create_task(self._work(), name="sync by time")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        if self._due:
            self._set_timer(min(begin for begin, _ in self._due.values()))

    async def _work(self) -> None:
        while self._waiting:
            run = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._sync(run), name=f"sync {run.path}")
            self._syncing[run] = task
            task.add_done_callback(functools.partial(self._synced, run))
            await asyncio.wait([task], timeout=PATIENCE_SECS)

    def _synced(self, run: RunState, task: asyncio.Task[object]) -> None:
        self._syncing.pop(run, None)
