"""Steps that are counted for each tag, over a process and those that it forks or spawns."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager


class GlobalCalls:
    """See the module. Counting takes a process of its own, which ends with the one that began."""

    def __init__(self) -> None:
        self._lock = multiprocessing.Lock()
        self._manager = multiprocessing.Manager()
        self._steps = self._manager.dict()

    @contextmanager
    def _next(self, kind: str, tag: str) -> Iterator[int]:
        """Yields the next step of a tag, from 0; the others wait until the block ends.

        So what processes log in turns has rising steps.
        """
        with self._lock:
            step = self._steps.get((kind, tag), -1) + 1
            self._steps[kind, tag] = step
            yield step
