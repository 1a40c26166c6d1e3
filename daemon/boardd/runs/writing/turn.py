"""How long one task has the event loop before others have their turn."""

from __future__ import annotations

import asyncio
import time
from typing import Final

#: CPU time of a turn, in seconds. A message that waits for another's turn hardly notices it.
TURN_SECS: Final = 0.005


class Turn:
    """The turn of the task that made it. What is long is cut, with a ``pause`` at each cut."""

    def __init__(self) -> None:
        self._begun = time.thread_time()

    async def pause(self) -> None:
        """Lets others have their turn if this one has lasted for ``TURN_SECS``."""
        if time.thread_time() - self._begun >= TURN_SECS:
            await asyncio.sleep(0)
            self._begun = time.thread_time()
