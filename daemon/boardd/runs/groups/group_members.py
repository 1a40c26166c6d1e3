"""The sessions that log to a group: as which rank, and whether they are still there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from boardd.core.groups.entries import Attempt, Joined
from boardd.core.groups.group import Group
from boardd.core.runs.marks import member_key
from boardd.core.runs.run_state import Holder, KeptSeries, RunState
from boardd.core.session.batch import RunPart
from boardd.runs.groups.host_leases import HostLeases

#: The rank's own directory is its own run here.
_NOT_KEPT: Final = KeptSeries("none", "")


class GroupMembers:
    """The members of ``run``, a group's journal. For the event loop's thread only.

    Of a group that a journal restored, members may be gone without a word. They are waited
    for during ``patience_secs``, and those of another host for ``host_secs`` after its last
    batch. ``is_absent`` is that of ``Runs``.
    """

    def __init__(
        self,
        run: RunState,
        is_absent: Callable[[bytes], bool],
        patience_secs: float,
        host_secs: float,
    ) -> None:
        self._run = run
        self._is_absent = is_absent
        self._patience_secs = patience_secs
        self._asked: dict[Holder, Joined] = {}
        self._has_forgotten = False  # since ``newcomers`` was asked
        self._unheard: frozenset[bytes] = frozenset()
        self._give_up_at = math.inf
        self.hosts = HostLeases(host_secs)

    @property
    def deadline(self) -> float:
        """When those that were not heard of are given up; infinite if there are none."""
        return min(self._give_up_at, self.hosts.deadline)

    def asked(self, part: RunPart) -> Joined:
        """How the session of ``part`` logs."""
        return self._of((part.session_id, part.numbers[0]))

    def newcomers(self) -> list[Joined]:
        """Those that have come since the last call."""
        self._has_forgotten = False
        members, holders = self._run.members, self._run.holders
        if len(self._asked) > len(members):
            self._asked = {one: asked for one, asked in self._asked.items() if one in members}
        if holders <= self._asked.keys():  # as nearly always, without a loop of Python's
            return []
        return [self._of(holder) for holder in holders if holder not in self._asked]

    def may_have_newcomers(self, parts: Iterable[RunPart]) -> bool:
        """Whether ``newcomers`` is to be asked before ``parts`` are taken.

        Sessions come as they define the run, and then it is asked; and with a part. One that
        was forgotten may log no part for long, and is waited for.
        """
        asked = self._asked
        return (
            self._has_forgotten
            or len(asked) > len(self._run.members)
            or any(
                (part.session_id, number) not in asked for part in parts for number in part.numbers
            )
        )

    def absent(self) -> frozenset[bytes]:
        """The sessions that may be members, while nothing says that they live."""
        gone = (one.session for holder, one in self._asked.items() if self._is_absent(holder[0]))
        return self._unheard.union(gone)

    def has_left(self, part: RunPart) -> bool:
        """Whether no writer of the session of ``part`` logs as its rank any more."""
        session = self.asked(part).session
        holders = [one for one in self._run.holders if one[0] == part.session_id]
        return all(self._of(holder).session != session for holder in holders)

    def restored(self, group: Group, now: float) -> None:
        """The journal says that the members of ``group`` were there."""
        self.hosts.restored(group.relayed(), now)
        asked = self._asked.items()
        heard = {joined.session for holder, joined in asked if holder in self._run.holders}
        self._unheard = frozenset(group.live_sessions) - heard
        self._give_up_at = now + self._patience_secs if self._unheard else math.inf

    def forget(self, session: bytes) -> None:
        """The journal did not take that ``session`` is there: it is a newcomer once more."""
        self._has_forgotten = True
        self._asked = {
            holder: joined for holder, joined in self._asked.items() if joined.session != session
        }

    def lost(self, group: Group, now: float) -> list[Joined]:
        """Those that are not waited for any more, each once."""
        lost: list[bytes] = []
        if now >= self._give_up_at:
            lost += sorted(self._unheard)
            self._unheard, self._give_up_at = frozenset(), math.inf
        for producer in self.hosts.expired(now):
            lost += group.relayed().get(producer, [])
        nobody = Attempt(0, "", 0)
        return [Joined(session, 0, nobody, 1, "", 0, False) for session in lost]

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
                member.process.hostname,
                member.process.pid,
                member.has_siblings,
                per_rank=kept.per_rank,
                series=kept.directory,
                process_id=member.process.process_id,
            )
            joined = self._resized(joined)
            self._unheard -= {joined.session}
            if not self._unheard:
                self._give_up_at = math.inf
        return joined

    def _resized(self, joined: Joined) -> Joined:
        """Of several writers of a session, the newest knows how large the world is."""
        of_session = {
            holder: one for holder, one in self._asked.items() if one.session == joined.session
        }
        newest = max(of_session.values(), key=lambda one: one.attempt.epoch)
        if any(one.world_size != newest.world_size for one in of_session.values()):
            for holder, one in of_session.items():
                self._asked[holder] = replace(one, world_size=newest.world_size)
        return replace(joined, world_size=newest.world_size)
