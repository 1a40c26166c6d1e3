"""How long a group's journal was when, to find the entries that open points may need."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

#: Seconds between two notes.
AGE_SECS: Final = 1.0


class JournalAges:
    """Times in seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, int]] = deque([(-math.inf, 0)])

    def note(self, now: float, entries: int) -> None:
        """The journal has ``entries`` entries, and others may be appended."""
        if now >= self._notes[-1][0] + AGE_SECS:
            self._notes.append((now, entries))

    def oldest_open(self, opened_at: float | None, entries: int) -> int:
        """Returns the number of an entry before which none contributed to an open point.

        ``opened_at``: when the oldest of these was opened; None if there is none.
        ``entries``: how many the journal has. Call it with rising times.
        """
        while len(self._notes) > 1 and (opened_at is None or self._notes[1][0] <= opened_at):
            self._notes.popleft()
        return entries if opened_at is None else self._notes[0][1]
