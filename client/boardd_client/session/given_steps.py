"""Steps that are no integers, as they were given: exports keep them, event files cannot."""

from __future__ import annotations

from typing import Final

#: About what one costs.
_ENTRY_BYTES: Final = 256


class GivenSteps:
    """Keeps as many as ``budget_bytes`` hold; those of later scalars are cut off in exports."""

    def __init__(self, budget_bytes: int) -> None:
        self._room = budget_bytes // _ENTRY_BYTES
        self._given: Final[dict[tuple[int, float, int], float | None]] = {}

    def note(self, series: int, wall_time: float, step: int, given: float | None) -> None:
        """Notes what became ``step``; equal points of a series keep what was given last."""
        key = (series, wall_time, step)
        if key in self._given or len(self._given) < self._room:
            self._given[key] = given

    def of(self, series: int, wall_time: float, step: int) -> float | None:
        """What was given for a point."""
        return self._given.get((series, wall_time, step), step)

    def clear(self) -> None:
        """Forgets all."""
        self._given.clear()
