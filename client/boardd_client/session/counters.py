"""Counts of a session's records: taken, dropped, rejected, and so written."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd_client.memory.arena import Arena
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.ring import Ring
from boardd_client.session.rejected import RejectedRecords

#: Drops are reported at most this often: in an overload, every call is one.
REPORT_INTERVAL_SECS: Final = 0.1
#: Runs and reasons in one report; the others come with the next.
MAX_REPORTED: Final = 1024


@dataclass(frozen=True)
class Statistics:
    """Counts of one process's session with a daemon, all its writers together.

    ``accepted`` = ``written`` + ``pending`` + the sum of ``rejected``. Records in
    ``dropped`` were never accepted: there was no room, or the writer was closed.
    """

    accepted: int = 0  #: records taken
    written: int = 0  #: handed to the operating system by the daemon
    pending: int = 0  #: kept in memory until that happens
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  #: by reason
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  #: likewise
    log_used_bytes: int = 0  #: memory that records take which are not yet written
    log_bytes: int = 0  #: how much they may take
    arena_used_bytes: int = 0  #: memory that their tensors take, without those in maps of their own
    arena_bytes: int = 0  #: how much these may take
    sent_bytes: int = 0  #: frames and tensors sent by value, those sent again included
    #: ``"shared"`` (memory), ``"by value"`` (gRPC), or ``""`` while there is no connection.
    transport: str = ""


@dataclass
class _Drops:
    """What was dropped of one run for one reason."""

    records: int = 0
    size_bytes: int = 0


class Counters:
    """Not thread-safe: its session locks."""

    def __init__(self) -> None:
        self._dropped: Counter[str] = Counter()
        self._drops: dict[tuple[int, str], _Drops] = {}  # by run and reason
        self._drop_steps: dict[int, int] = {}  # by run, the highest
        self._unreported: dict[tuple[int, str], None] = {}  # in the order in which they grew
        self._reported_at = -math.inf
        self._ends_waiting = 0
        self.rejected: Final = RejectedRecords()
        self._unlogged: deque[tuple[int, int]] = deque()  # sequence and, of END_RUN, the run
        self._unlogged_acknowledged = 0

    def drop(
        self, reason: DropReason, size_bytes: int, *, run: int = 0, step: int = 0, records: int = 1
    ) -> int:
        """Counts records that were not accepted; returns how many there are of that reason.

        ``run`` is the number of the run they were meant for, 0 for none.
        """
        name = str(reason)
        self._dropped[name] += records
        key = (run, name)
        drops = self._drops.get(key)
        if drops is None:
            drops = self._drops[key] = _Drops()
        drops.records += records
        drops.size_bytes += size_bytes
        self._drop_steps[run] = max(self._drop_steps.get(run, step), step)
        self._unreported[key] = None
        return self._dropped[name]

    def report(self, now: float) -> pb.ClientReport | None:
        """What the daemon is to be told of drops, if they grew; ``now`` is in monotonic seconds.

        At most one in ``REPORT_INTERVAL_SECS``, unless the end of a run is to follow: the
        run's files are closed with it.
        """
        is_early = now - self._reported_at < REPORT_INTERVAL_SECS
        if not self._unreported or (is_early and not self._ends_waiting):
            return None
        self._reported_at = now
        report = pb.ClientReport()
        for key in list(itertools.islice(self._unreported, MAX_REPORTED)):
            del self._unreported[key]
            run, reason = key
            drops = self._drops[key]
            report.dropped.add(
                reason=reason,
                records=drops.records,
                size_bytes=drops.size_bytes,
                run=run,
                step=self._drop_steps[run],
            )
        return report

    def add_unlogged(self, sequence: int, ended_run: int = 0) -> None:
        """Notes a frame that no user logged and no count shows; an END_RUN names its run."""
        self._unlogged.append((sequence, ended_run))
        self._ends_waiting += ended_run != 0

    def resume(self, received_sequence: int) -> None:
        """A daemon goes on behind a record: what it gets again it will reject again."""
        self._unreported = dict.fromkeys(self._drops)
        self._reported_at = -math.inf
        self.rejected.resume(received_sequence)

    def settle(self, through_sequence: int, is_parked: Callable[[int], bool]) -> list[int]:
        """Counts what is done up to a record; returns the runs that ended with it.

        ``is_parked`` says of the end of a run, and of a lost record, whether it is not done all
        the same.
        """
        self.rejected.settle(through_sequence, is_parked)
        ended = []
        parked = []
        while self._unlogged and self._unlogged[0][0] <= through_sequence:
            sequence, run = self._unlogged.popleft()
            if is_parked(sequence):
                parked.append((sequence, run))
                continue
            self._unlogged_acknowledged += 1
            if run:
                ended.append(run)
                self._ends_waiting -= 1
        self._unlogged.extendleft(reversed(parked))
        return ended

    def statistics(
        self,
        ring: Ring,
        arena: Arena,
        waiting_frames: int,
        *,
        sent_bytes: int,
        transport: str,
    ) -> Statistics:
        """A snapshot; ``waiting_frames`` are those that are not done."""
        unlogged = len(self._unlogged)
        accepted = ring.last_sequence - self._unlogged_acknowledged - unlogged
        pending = waiting_frames - unlogged
        return Statistics(
            accepted=accepted,
            written=accepted - pending - self.rejected.count,
            pending=pending,
            dropped=MappingProxyType(dict(self._dropped)),
            rejected=MappingProxyType(self.rejected.by_reason()),
            log_used_bytes=ring.used_bytes,
            log_bytes=ring.size_bytes,
            arena_used_bytes=arena.used_bytes,
            arena_bytes=arena.size_bytes,
            sent_bytes=sent_bytes,
            transport=transport,
        )
