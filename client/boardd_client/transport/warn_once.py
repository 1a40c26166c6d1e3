"""Warnings that are told once."""

from __future__ import annotations

import logging
from typing import Final

_logger = logging.getLogger("boardd_client")

_MAX_KEYS: Final = 1000


class WarnOnce:
    """Warns once for each key, up to 1000 keys. Any thread may call."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def __call__(self, key: str, text: str) -> None:
        """Logs ``text`` as a warning, unless one with ``key`` was logged before."""
        if key not in self._warned and len(self._warned) < _MAX_KEYS:
            self._warned.add(key)
            _logger.warning("boardd: %s", text)
