"""When what is written is made durable without being asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Seconds; nothing is synced more often by time.
LEAST_SYNC_SECS: Final = 0.1


@dataclass(frozen=True)
class SyncPolicy:
    """``secs`` after it was written at the latest, 0: not by time; and with each flush.

    What a client says of ``secs`` is taken as it comes: what is no time is 0.
    """

    secs: float = 0.0
    on_flush: bool = False

    def __post_init__(self) -> None:
        usable = math.isfinite(self.secs) and self.secs > 0
        secs = max(self.secs, LEAST_SYNC_SECS) if usable else 0.0
        object.__setattr__(self, "secs", secs)

    @property
    def text(self) -> str:
        """The policy as the setting ``sync`` says it: never, flush, or seconds."""
        return "flush" if self.on_flush else f"{self.secs:g}" if self.secs else "never"

    def stricter(self, other: SyncPolicy) -> SyncPolicy:
        """A policy that does what both ask for."""
        times = [secs for secs in (self.secs, other.secs) if secs]
        return SyncPolicy(min(times, default=0.0), self.on_flush or other.on_flush)


#: Only when it is asked for.
NEVER: Final = SyncPolicy()
