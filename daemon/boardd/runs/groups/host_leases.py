"""Hosts whose daemons pass on what their ranks log, and how long nothing was heard of each.

Only time in which a host could have been heard counts: if this daemon was stopped, or busy with
a disk that hangs, the hosts are not to blame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

#: Seconds between two looks, of which no more counts: this daemon was held up in the others.
MAX_LOOK_SECS: Final = 15.0


class HostLeases:
    """A host is given up ``lease_secs`` after its last batch, until it sends another.

    Times are in seconds of one clock that never goes back.
    """

    def __init__(self, lease_secs: float) -> None:
        self._lease_secs = lease_secs
        self._heard_at: dict[bytes, float] = {}
        self._looked_at = math.inf

    def heard(self, producer: bytes, now: float) -> None:
        """A batch came from ``producer``."""
        self._heard_at[producer] = now

    def restored(self, producers: Iterable[bytes], now: float) -> None:
        """The journal says that ``producers`` have ranks in the group."""
        for producer in producers:
            self._heard_at.setdefault(producer, now)

    def expired(self, now: float) -> list[bytes]:
        """Returns those that are given up now, each once. To be called every few seconds."""
        held_up_secs = now - self._looked_at - MAX_LOOK_SECS
        if held_up_secs > 0:
            self._heard_at = {
                producer: min(now, heard_at + held_up_secs)
                for producer, heard_at in self._heard_at.items()
            }
        self._looked_at = now
        given_up = [
            producer
            for producer, heard_at in self._heard_at.items()
            if now >= heard_at + self._lease_secs
        ]
        for producer in given_up:
            del self._heard_at[producer]
        return given_up

    @property
    def deadline(self) -> float:
        """When the next is given up; infinite if there are no hosts."""
        return min(self._heard_at.values(), default=math.inf) + self._lease_secs
