"""What a run tells once, such as its first NaN, and whether that still stands."""

from __future__ import annotations

from typing import Final

#: Tags that are kept; the oldest gives way.
_MAX_TAGS: Final = 1024


class ToldOnce:
    """The tags under which a run tells something once, and the step of each.

    What an earlier daemon told has no step here. It stands until the run is taken back to any
    step: it is better told twice than never.
    """

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
        self._is_rewound = False

    def note(self, tag: str, step: int) -> None:
        """Notes that ``tag`` was told in an event at ``step``."""
        if tag not in self._steps and len(self._steps) >= _MAX_TAGS:
            del self._steps[next(iter(self._steps))]
        self._steps[tag] = step

    def stands(self, tag: str, *, is_known: bool) -> bool:
        """Whether ``tag`` was told; ``is_known``: the run's files have something under it."""
        return tag in self._steps or (is_known and not self._is_rewound)

    def rewind(self, step: int) -> None:
        """Notes that what was written at ``step`` and later is out of date."""
        self._is_rewound = True
        self._steps = {tag: told for tag, told in self._steps.items() if told < step}
