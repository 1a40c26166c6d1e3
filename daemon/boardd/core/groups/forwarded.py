"""A group whose points another daemon makes, and that of it which is known here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Entry, Joined, Left, Rewound, Scalars, Summary
from boardd.core.groups.group import Group
from boardd.core.groups.points import Point


class ForwardedGroup(Group):
    """Knows who logs, under which tags and how far, and decides nothing.

    Contributions are kept by the journal alone, until the other daemon has them.
    """

    is_forwarded: ClassVar[bool] = True

    def apply(self, entry: Entry, now: float) -> list[Point]:
        """See ``Group``. Nothing is shown here."""
        if isinstance(entry, Scalars):
            if len(entry.tag):
                self._note_steps(entry.session, entry.tag, entry.step)
            return []
        if isinstance(entry, Summary):
            tag, step = np.array([entry.tag], np.intp), np.array([entry.step], np.int64)
            self._note_steps(entry.session, tag, step)
            return []
        return super().apply(entry, now)

    def apply_together(self, entries: Sequence[Entry], now: float) -> bool:
        """See ``Group``. Each is applied by itself: only its step is noted."""
        return False

    def admit(self, asked: Joined, absent: Collection[bytes] = ()) -> list[Entry]:
        """See ``Group``. That members are gone is for the other daemon to know, too."""
        entries = super().admit(asked, absent)
        joined = next((entry for entry in entries if isinstance(entry, Joined)), None)
        if joined is None or not self._attempts.moves_on(joined):
            return entries
        gone = [Left(one.joined.session) for one in self._attempts if one.is_live]
        return [*(left for left in gone if left.session in absent), *entries]

    def purge(self, session: bytes, step: int) -> list[Entry]:
        """See ``Group``. Each rank's is told: the other daemon keeps its series."""
        current = self._attempts.current
        if entries := super().purge(session, step):
            return entries
        if current is None or self._attempts[session].is_old:
            return []
        return [Rewound(current, step, session)]

    def due(self, now: float, *, drain: bool = False) -> list[Entry]:
        """Nothing: the other daemon decides."""
        return []

    def next_due(self, now: float) -> float | None:
        """Never."""
        return None

    def is_over(self, now: float) -> bool:
        """Whether nobody logs here."""
        return not self._attempts.live_ranks()

    def _note_steps(self, session: bytes, tag: NDArray[np.intp], step: NDArray[np.int64]) -> None:
        member = self._attempts[session]
        if not member.is_old:
            self._note_progress(member, int(step.max()))
            self._positions.advance(member.joined.rank, tag, step)
