"""Hosts whose daemons pass on what their ranks log, and how long nothing was heard of each."""

from __future__ import annotations

import math
from collections.abc import Iterable


class HostLeases:
    """A host is given up ``lease_secs`` after its last batch, until it sends another.

    Times are in seconds of one clock that never goes back.
    """

    def __init__(self, lease_secs: float) -> None:
        self._lease_secs = lease_secs
        self._heard_at: dict[bytes, float] = {}

    def heard(self, producer: bytes, now: float) -> None:
        """A batch came from ``producer``."""
        self._heard_at[producer] = now

    def restored(self, producers: Iterable[bytes], now: float) -> None:
        """The journal says that ``producers`` have ranks in the group."""
        for producer in producers:
            self._heard_at.setdefault(producer, now)

    def expired(self, now: float) -> list[bytes]:
        """Returns those that are given up now, each once."""
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
