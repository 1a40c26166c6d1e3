"""The sessions that log to a group: as which rank, and whether they are still there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from boardd.core.groups.entries import Attempt, Joined
from boardd.core.runs.marks import member_key
from boardd.core.runs.run_state import Holder, KeptSeries, RunState
from boardd.core.session.batch import RunPart

#: The rank's own directory is its own run here.
_NOT_KEPT: Final = KeptSeries("none", "")


class GroupMembers:
    """The members of ``run``, a group's journal. For the event loop's thread only.

    Of a group that a journal restored, members may be gone without a word. They are waited
    for during ``patience_secs``.
    """

    def __init__(self, run: RunState, patience_secs: float) -> None:
        self._run = run
        self._patience_secs = patience_secs
        self._asked: dict[Holder, Joined] = {}
        self._unheard: set[bytes] = set()
        #: When those that were not heard of are given up; None if there are none.
        self.deadline: float | None = None

    def asked(self, part: RunPart) -> Joined:
        """How the session of ``part`` logs."""
        return self._of((part.session_id, part.numbers[0]))

    def newcomers(self) -> list[Joined]:
        """Those that have come since the last call."""
        return [self._of(holder) for holder in self._run.holders if holder not in self._asked]

    def has_left(self, part: RunPart) -> bool:
        """Whether no writer of the session of ``part`` logs as its rank any more."""
        session = self.asked(part).session
        holders = [one for one in self._run.holders if one[0] == part.session_id]
        return all(self._of(holder).session != session for holder in holders)

    def restored(self, sessions: Iterable[bytes], now: float) -> None:
        """The journal says that ``sessions`` were there."""
        heard = {joined.session for joined in self._asked.values()}
        self._unheard = set(sessions) - heard
        self.deadline = now + self._patience_secs if self._unheard else None

    def lost(self, now: float) -> list[Joined]:
        """Those that are not waited for any more, each once."""
        if self.deadline is None or now < self.deadline:
            return []
        lost, self._unheard, self.deadline = self._unheard, set(), None
        nobody = Attempt(0, "", 0)
        return [Joined(session, 0, nobody, 1, "", 0, False) for session in sorted(lost)]

    def _of(self, holder: Holder) -> Joined:
        joined = self._asked.get(holder)
        if joined is None:
            member = self._run.members[holder]
            kept = member.kept or _NOT_KEPT
            joined = self._asked[holder] = Joined(
                member_key(holder[0], member.rank),
                member.rank,
                Attempt(member.epoch, member.launch, member.attempt),
                member.world_size,
                member.hostname,
                member.pid,
                member.has_siblings,
                per_rank=kept.per_rank,
                series=kept.directory,
            )
            self._unheard.discard(joined.session)
            if not self._unheard:
                self.deadline = None
        return joined
