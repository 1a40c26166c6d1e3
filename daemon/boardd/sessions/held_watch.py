"""Looks now and then which runs hold a session up, while anything of it is out."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from boardd.sessions.live_session import LiveSession

_logger = logging.getLogger(__name__)

#: Between looks.
LOOK_SECS: Final = 0.1


class HeldWatch:
    """Looks at sessions, and notifies those of which there is something to tell.

    One timer serves all.
    """

    def __init__(self) -> None:
        self._watched: set[LiveSession] = set()
        #: Those of which a defect was logged: once, as they are looked at ten times a second.
        self._defective: set[LiveSession] = set()
        self._is_timed = False

    def begin(self, live: LiveSession) -> None:
        """Parts of ``live`` went out: looks from now on until all are back."""
        if live in self._watched or live.session.is_quiet:
            return
        self._watched.add(live)
        self._time()

    def _time(self) -> None:
        if not self._is_timed:
            self._is_timed = True
            asyncio.get_running_loop().call_later(LOOK_SECS, self._look)

    def _look(self) -> None:
        self._is_timed = False
        now = asyncio.get_running_loop().time()
        for live in list(self._watched):
            try:
                self._look_at(live, now)
            except Exception:  # a defect: the others are looked at all the same
                if live not in self._defective:
                    self._defective.add(live)
                    _logger.exception("session %d cannot be looked at", live.number)
        self._defective &= self._watched
        if self._watched:
            self._time()

    def _look_at(self, live: LiveSession, now: float) -> None:
        if live.session.is_quiet:
            self._watched.discard(live)
        if live.session.look(now) and live.session.telling.has_news:
            live.notice.notify()
