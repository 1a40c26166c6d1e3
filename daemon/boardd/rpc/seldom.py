"""A log line about what peers may cause as often as they like: seldom, with a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

#: Between two lines.
PERIOD_SECS: Final = 60.0


class Seldom:
    """Logs ``text`` when something is added, at most once in ``PERIOD_SECS``.

    ``text`` takes two values: how many were added since the last line, and the last of them.
    """

    def __init__(
        self,
        logger: logging.Logger,
        text: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        level: int = logging.WARNING,
    ) -> None:
        self._logger = logger
        self._text = text
        self._clock = clock
        self._level = level
        self._untold = 0
        self._told_at = float("-inf")

    def add(self, what: str, count: int = 1) -> None:
        """``count`` more; ``what`` shows in the line if they are the last before it."""
        self._untold += count
        if self._clock() - self._told_at >= PERIOD_SECS:
            self._logger.log(self._level, self._text, self._untold, what)
            self._untold, self._told_at = 0, self._clock()
