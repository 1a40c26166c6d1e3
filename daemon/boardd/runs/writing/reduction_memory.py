"""The memory that reductions under way take together."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

#: A reduction that takes less waits for nobody: so small ones go on beside a large one.
SMALL_BYTES: Final = 16 << 20


class ReductionMemory:
    """``budget_bytes`` for the reductions of some threads, each of which holds its part meanwhile.

    One that finds no room waits until others end, in turn. One that is larger than the budget
    is made when no other large one is.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes that large reductions hold."""
        return self._held_bytes

    @contextlib.contextmanager
    def holding(self, size_bytes: int) -> Iterator[None]:
        """Holds ``size_bytes`` meanwhile; waits for room first."""
        if size_bytes < SMALL_BYTES:
            yield
            return
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            self._changed.wait_for(lambda: self._waiting[0] is turn and self._has_room(size_bytes))
            self._waiting.popleft()
            self._held_bytes += size_bytes
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held_bytes -= size_bytes
                self._changed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._held_bytes or self._held_bytes + size_bytes <= self._budget_bytes
