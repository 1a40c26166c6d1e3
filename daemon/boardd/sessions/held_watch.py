"""Looks now and then which runs hold a session up, while anything of it is out."""

from __future__ import annotations

import asyncio
from typing import Final

from boardd.sessions.live_session import LiveSession

#: Between looks.
LOOK_SECS: Final = 0.1


class HeldWatch:
    """Looks at sessions, and notifies those of which there is something to tell.

    One timer serves all.
    """

    def __init__(self) -> None:
        self._watched: set[LiveSession] = set()
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
            if live.session.is_quiet:
                self._watched.discard(live)
            live.session.look(now)
            if live.session.telling.has_news:
                live.notice.notify()
        if self._watched:
            self._time()
