"""What the daemon does when a module that it needs cannot be loaded: nothing is rejected.

Whatever needs the module is held up until the daemon ends. It is not acknowledged, so the next
daemon gets it again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import NoReturn

_logger = logging.getLogger(__name__)


class Environment:
    """Whether all that the daemon needs can be loaded, as far as is known.

    ``on_fault`` is called at the first fault, on whatever thread that is.
    """

    def __init__(self) -> None:
        self.on_fault: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._is_broken = False

    def note(self, error: Exception) -> None:
        """Takes an ``is_environment_fault``. Any thread may call."""
        with self._lock:
            if self._is_broken:
                return
            self._is_broken = True
        _logger.error(
            "boardd's environment was moved or changed, or lacks something: %s: %s; records that "
            "need it are held up, none is rejected, and this daemon leaves for the next one. If "
            "that says the same, install boardd anew: pip install --force-reinstall boardd",
            type(error).__name__,
            error,
        )
        self.on_fault()

    async def hold_up(self, error: Exception) -> NoReturn:
        """As ``note``; then waits until it is cancelled."""
        self.note(error)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")
