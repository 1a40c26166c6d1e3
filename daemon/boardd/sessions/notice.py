"""Waiting for a state of the event loop's own to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Notice:
    """Lets tasks wait for a condition; whoever changes the state notifies them."""

    def __init__(self) -> None:
        self._changed: asyncio.Event | None = None

    def notify(self) -> None:
        """Makes every waiting task look at its condition again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, condition: Callable[[], bool], timeout_secs: float | None = None) -> bool:
        """Returns True as soon as ``condition`` holds, False after ``timeout_secs``.

        None waits forever. A condition that holds now returns without a pause.
        """
        if condition():
            return True
        if timeout_secs is None:
            await self._until(condition)
            return True
        try:
            await asyncio.wait_for(self._until(condition), max(0.0, timeout_secs))
        except (TimeoutError, asyncio.TimeoutError):
            return condition()
        return True

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
