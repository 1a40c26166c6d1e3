"""What clients dropped themselves: taken from their reports, told in the logdir.

A report is cumulative by run and reason, so a report that comes twice changes nothing;
nor does that of a client which comes back to a run that counts its drops already. What a
run has lost by now, in all its sessions, becomes scalars in its directory:
``boardd/dropped``, and one for each reason beneath it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from weakref import ref

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import RefusedError
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS, MAX_REASON, add_records
from boardd.core.runs.names import shown_tag
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import Counters
from boardd.core.session.rejections import Unheard

#: The tag of all drops of a run; those of a reason have it as a prefix.
DROPPED: Final = "boardd/dropped"

#: Records and bytes.
Amount = tuple[int, int]


class _RunDrops:
    """What one client dropped of one of its runs, and what of it that run counts already."""

    def __init__(self) -> None:
        self.amounts: dict[str, Amount] = {}
        self._counted: dict[str, int] = {}
        #: The run that counts it; another one at the same path begins at zero.
        self._run: ref[RunState] | None = None

    def count_in(self, run: RunState) -> bool:
        """Adds to ``run`` what it does not count yet; returns whether that is anything."""
        if self._run is None or self._run() is not run:
            self._run = ref(run)
            self._counted = {}
        has_grown = False
        for reason, (records, _) in self.amounts.items():
            new = records - self._counted.get(reason, 0)
            if new:
                self._counted[reason] = records
                add_records(run.dropped, reason, new)
                has_grown = True
        return has_grown


class ClientDrops:
    """The drops that one client reported, by run and reason; its length is that of all."""

    def __init__(self, max_runs: int) -> None:
        self._max_amounts = (max_runs + 1) * MAX_DROP_REASONS
        self._length = 0
        self._reasons: set[str] = set()
        self._runs: dict[int, _RunDrops] = {}

    def __len__(self) -> int:
        return self._length

    def take(self, report: pb.ClientReport, totals: dict[str, Amount]) -> dict[int, int]:
        """Takes a report, and adds what is new in it to ``totals``.

        Returns the step of each run in it. Reasons past ``MAX_DROP_REASONS`` are
        passed over.
        """
        steps: dict[int, int] = {}
        for count in report.dropped:
            reason = count.reason[:MAX_REASON]
            drops = self._runs.get(count.run)
            known = drops.amounts.get(reason) if drops is not None else None
            if known is None and self._length >= self._max_amounts:
                continue
            if reason not in self._reasons and len(self._reasons) >= MAX_DROP_REASONS:
                continue
            if drops is None:
                drops = self._runs[count.run] = _RunDrops()
            before = known or (0, 0)
            amount = max(before[0], count.records), max(before[1], count.size_bytes)
            self._reasons.add(reason)
            self._length += known is None
            drops.amounts[reason] = amount
            if amount != before:
                total = totals.get(reason, (0, 0))
                totals[reason] = total[0] + amount[0] - before[0], total[1] + amount[1] - before[1]
            steps[count.run] = max(steps.get(count.run, count.step), count.step)
        return steps

    def records(self, numbers: Iterable[int]) -> dict[str, int]:
        """Returns how many records were dropped of these runs of the client, by reason."""
        total: dict[str, int] = {}
        for number in numbers:
            if number in self._runs:
                for reason, (records, _) in self._runs[number].amounts.items():
                    total[reason] = total.get(reason, 0) + records
        return total

    def count_in(self, number: int, run: RunState) -> bool:
        """Adds what was dropped of the client's run ``number`` to ``run``.

        Returns whether that is more than it counted already.
        """
        drops = self._runs.get(number)
        return drops is not None and drops.count_in(run)


class Ended(NamedTuple):
    """What is known of a session that ended."""

    written_sequence: int = 0
    drops: ClientDrops | None = None  #: what its client dropped, if that is known
    rejections: Unheard = Unheard()  #: what its client is still to be told

    @property
    def amounts(self) -> int:
        """What it counts for beside its sequence number."""
        return len(self.rejections) + (len(self.drops) if self.drops is not None else 0)


class EndedSessions:
    """What is to be known of sessions that ended, should their clients come back.

    The oldest are forgotten first, beyond ``max_sessions``; and what was dropped and rejected
    of them, beyond ``max_amounts`` of all: then drops would be counted anew, and rejections
    stay unheard.
    """

    def __init__(self, max_sessions: int, max_amounts: int) -> None:
        self._counters = Counters()
        self._max_sessions = max_sessions
        self._max_amounts = max_amounts
        self._amounts = 0
        self._sessions: OrderedDict[bytes, Ended] = OrderedDict()
        self._with_amounts: OrderedDict[bytes, None] = OrderedDict()

    def remember(self, session_id: bytes, ended: Ended) -> None:
        """Notes what is known of a session."""
        self.take(session_id)
        self._sessions[session_id] = ended
        if ended.amounts:
            self._with_amounts[session_id] = None
            self._amounts += ended.amounts
        while len(self._sessions) > self._max_sessions:
            self.take(next(iter(self._sessions)))
        while self._amounts > self._max_amounts:
            forgotten, _ = self._with_amounts.popitem(last=False)
            sequence = self.take(forgotten).written_sequence
            self._sessions[forgotten] = Ended(sequence)
            self._sessions.move_to_end(forgotten, last=False)

    def count(self, counters: Counters) -> None:
        """Adds what a session counted that is gone."""
        self._counters.add(counters)

    def counters_with(self, others: Iterable[Counters]) -> Counters:
        """Returns what all that are gone counted, and ``others``, those of open sessions.

        A reason of drops that was told once is told for ever: what is told never goes down.
        """
        total = Counters()
        for counters in (self._counters, *others):
            total.add(counters)
        for reason in total.dropped_by_client:
            self._counters.dropped_by_client.setdefault(reason, (0, 0))
        return total

    def take(self, session_id: bytes) -> Ended:
        """Forgets a session; returns what was known of it."""
        ended = self._sessions.pop(session_id, Ended())
        self._with_amounts.pop(session_id, None)
        self._amounts -= ended.amounts
        return ended


def drop_tags(records: Mapping[str, int]) -> dict[str, int]:
    """The tags that tell of drops, and the value of each; ``records`` are those of each reason."""
    counts: dict[str, int] = {}
    for reason, count in records.items():
        add_records(counts, reason, count)
    tags = {DROPPED: sum(counts.values())}
    for reason, count in counts.items():
        try:
            tag = shown_tag(f"{DROPPED}/{reason}")
        except RefusedError:
            continue  # too long; it is in the sum
        if tag != DROPPED:
            tags[tag] = tags.get(tag, 0) + count
    return tags
