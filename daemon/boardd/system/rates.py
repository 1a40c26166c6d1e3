"""Growth of counters between two measurements."""

from __future__ import annotations

from collections.abc import Mapping


class Rates:
    """How fast counters grow. A counter that is new, or began anew, has no rate."""

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._measured_at = 0.0

    def take(self, counters: Mapping[str, float], now: float) -> dict[str, float]:
        """Returns the growth of each of ``counters`` a second since the last call.

        ``now`` is in seconds and never goes back.
        """
        before, self._before = self._before, dict(counters)
        secs, self._measured_at = now - self._measured_at, now
        if secs <= 0:
            return {}
        return {
            name: (count - before[name]) / secs
            for name, count in counters.items()
            if name in before and count >= before[name]
        }
