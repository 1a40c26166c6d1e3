"""Looks now and then which runs hold a session up, while anything of it is out."""

from __future__ import annotations

import asyncio
from typing import Final

from boardd.sessions.live_session import LiveSession

#: Between looks.
LOOK_SECS: Final = 0.1


class HeldWatch:
    """Looks at sessions, and notifies those of which there is something to tell."""

    def __init__(self) -> None:
        self._watched: set[LiveSession] = set()

    def begin(self, live: LiveSession) -> None:
        """Parts of ``live`` went out: looks from now on until all are back."""
        if live not in self._watched and not live.session.is_quiet:
            self._watched.add(live)
            asyncio.get_running_loop().call_later(LOOK_SECS, self._look, live)

    def _look(self, live: LiveSession) -> None:
        self._watched.discard(live)
        live.session.look(asyncio.get_running_loop().time())
        if live.session.telling.has_news:
            live.notice.notify()
        self.begin(live)
