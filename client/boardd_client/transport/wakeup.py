"""What wakes the sender.

``threading.Event`` holds a plain lock while it is set: a signal handler that
logs, run in the middle of that by the same thread, would wait for itself for
ever. ``queue.SimpleQueue.put`` is made to be interrupted by itself.
"""

from __future__ import annotations

import contextlib
import queue


class Wakeup:
    """Rings from any thread; one thread waits."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Ends a wait, or the next one."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, timeout_secs: float) -> bool:
        """Waits for a ring. Returns whether there was one."""
        try:
            self._rings.get(timeout=timeout_secs)
        except queue.Empty:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()
        return True
