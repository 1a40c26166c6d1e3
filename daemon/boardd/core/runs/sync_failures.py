"""What of a run could not be made durable, until every session that may be concerned knows."""

from __future__ import annotations

from collections import deque
from typing import Final

#: So many failures are told with their reasons; of earlier ones only the number.
MAX_REASONS: Final = 8


class SyncFailures:
    """The failures of one run, by number, and the number up to which each session was told.

    ``note`` may be called on the thread that writes the run, all else on the event loop only.
    """

    def __init__(self) -> None:
        #: With their numbers, which begin at 1.
        self._latest: deque[tuple[int, str]] = deque([(0, "")], MAX_REASONS)
        self._told: dict[bytes, int] = {}

    @property
    def _count(self) -> int:
        number, _ = self._latest[-1]
        return number

    def note(self, reason: str) -> None:
        """Adds one, for people; the caller is the only one to note at this time."""
        self._latest.append((self._count + 1, reason))

    def join(self, session_id: bytes) -> None:
        """A session logs to the run: what failed before is none of its."""
        self._told.setdefault(session_id, self._count)

    def leave(self, session_id: bytes) -> None:
        """A session is gone."""
        self._told.pop(session_id, None)

    def tell(self, session_id: bytes) -> str:
        """Returns the reasons that a session was not told of; empty if there are none."""
        latest = list(self._latest)
        told = self._told.get(session_id, 0)
        self._told[session_id] = count = latest[-1][0]
        reasons = [reason for number, reason in latest if number > told]
        if earlier := count - told - len(reasons):
            reasons.insert(0, f"{earlier} earlier failures")
        return "; ".join(reasons)
