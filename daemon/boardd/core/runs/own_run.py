"""What one rank keeps in a directory of its own, beside what is merged with other ranks'."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import RunState

_NO_TAG = -1


class TagMap:
    """Leads from a tag's index in a merged run to its index in a rank's own run."""

    def __init__(self) -> None:
        self._own = np.full(16, _NO_TAG, np.intp)
        #: The last arguments of ``of`` that never change, and what it returned.
        self._last: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None

    def add(self, merged: int, own: int) -> None:
        """Notes that a tag has the index ``own`` there."""
        if merged >= len(self._own):
            grown = np.full(max(merged + 1, 2 * len(self._own)), _NO_TAG, np.intp)
            grown[: len(self._own)] = self._own
            self._own = grown
        self._own[merged] = own
        self._last = None

    def of(self, merged: NDArray[np.intp]) -> NDArray[np.intp]:
        """The index of each of ``merged``, intp[n], all of which were added."""
        if self._last is not None and self._last[0] is merged:
            return self._last[1]
        own: NDArray[np.intp] = self._own[merged]
        if not merged.flags.writeable:
            own.flags.writeable = False
            self._last = merged, own
        return own

    def of_one(self, merged: int) -> int:
        """As ``of``, of one tag."""
        return int(self._own[merged])


@dataclass(eq=False)
class OwnRun:
    """The own run of ``rank``; what it keeps is said by ``per_rank``, see ``names.PER_RANK``.

    It has no ``run`` if it keeps nothing, or if that is ``refused``.
    """

    rank: int
    per_rank: str
    run: RunState | None = None
    refused: Refusal | None = None
    tags: TagMap = field(default_factory=TagMap)

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be written there, if so."""
        return self.run.refusal if self.run is not None else self.refused

    @property
    def open_run(self) -> RunState | None:
        """The run that is to get copies; None if it is to get none, or is refused."""
        return None if self.refusal is not None else self.run

    @property
    def takes_summaries(self) -> bool:
        """Whether it gets copies of more than scalars."""
        return self.per_rank == "all"
