"""Waiting for a state of the event loop's own to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Notice:
    """Lets tasks wait for a condition; whoever changes the state notifies them.

    Conditions are looked at once for all notifications of a turn of the event loop, and a task
    goes on only if its own holds: to go on and wait again costs many times as much as a look.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._is_looking = False

    def notify(self) -> None:
        """Makes every waiting task look at its condition again."""
        if self._waiting and not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

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
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[changed] = condition
            try:
                await changed
            finally:
                self._waiting.pop(changed, None)

    def _look(self) -> None:
        self._is_looking = False
        for changed, condition in list(self._waiting.items()):
            if not changed.done() and _holds(condition):
                changed.set_result(None)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except Exception:  # for the task that waits, which looks again
        return True
