"""Counts of a session's records: taken, dropped, rejected, and so written."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.reasons import reason_name

from boardd_client.memory.arena import Arena
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.ring import Ring
from boardd_client.session.losses import Loss, LossReason
from boardd_client.session.schema import DefinedRun

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
    log_used_bytes: int = 0
    log_bytes: int = 0
    arena_used_bytes: int = 0
    arena_bytes: int = 0
    sent_bytes: int = 0  #: frames and tensors sent by value, those sent again included
    #: ``"shared"`` (memory), ``"by value"`` (gRPC), or ``""`` while there is no connection.
    transport: str = ""


@dataclass
class Rejection:
    """Records that the daemon will not write, from sequence number ``first`` to ``last``.

    A ``is_local`` one was lost in this process after it was numbered.
    """

    first: int
    last: int
    records: int
    reason: str
    message: str
    run: DefinedRun | None
    is_local: bool = False


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
        self._rejected: Counter[str] = Counter()
        self._rejections: list[Rejection] = []  # not yet covered by an acknowledgement
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

    def rejected(self, message: pb.Rejected, last_sequence: int, run: DefinedRun | None) -> None:
        """Notes a rejection by the daemon; it counts once its last record is acknowledged.

        ``last_sequence`` is the newest record's, ``run`` that of the first one rejected.
        """
        records = max(message.records, 1)
        last = min(message.last_sequence or message.sequence + records - 1, last_sequence)
        reason = reason_name(message.reason)
        self._rejections.append(
            Rejection(message.sequence, last, records, reason, message.message, run)
        )

    def lost(self, sequence: int, loss: Loss, run: DefinedRun | None) -> None:
        """Notes a record that was lost in this process; it counts once it is acknowledged."""
        self._rejections.append(
            Rejection(sequence, sequence, 1, loss.reason.value, loss.message, run, is_local=True)
        )

    def interrupted(self, sequence: int) -> None:
        """Notes a record whose call raised after it was numbered and before it was written."""
        # Its frame names no run.
        self.lost(sequence, Loss(LossReason.CAPTURE_FAILED, "interrupted by an error"), None)

    def resume(self, received_sequence: int) -> None:
        """A daemon goes on behind a record: what it gets again it will reject again."""
        self._unreported = dict.fromkeys(self._drops)
        self._reported_at = -math.inf
        self._rejections = [
            known for known in self._rejections if known.is_local or known.last <= received_sequence
        ]

    def settle(self, acknowledged_sequence: int) -> list[int]:
        """Counts what an acknowledgement covers; returns the runs that ended with it."""
        unsettled = []
        for rejection in self._rejections:
            if rejection.last > acknowledged_sequence:
                unsettled.append(rejection)
                continue
            self._rejected[rejection.reason] += rejection.records
            if rejection.run is not None:
                rejection.run.rejected += rejection.records
                rejection.run.last_rejection = f"{rejection.reason}: {rejection.message}"
        self._rejections = unsettled
        ended = []
        while self._unlogged and self._unlogged[0][0] <= acknowledged_sequence:
            _, run = self._unlogged.popleft()
            self._unlogged_acknowledged += 1
            if run:
                ended.append(run)
                self._ends_waiting -= 1
        return ended

    def statistics(
        self,
        ring: Ring,
        arena: Arena,
        acknowledged_sequence: int,
        *,
        sent_bytes: int,
        transport: str,
    ) -> Statistics:
        """A snapshot."""
        last_sequence = ring.last_sequence
        rejected = sum(self._rejected.values())
        unlogged, acknowledged_unlogged = len(self._unlogged), self._unlogged_acknowledged
        return Statistics(
            accepted=last_sequence - acknowledged_unlogged - unlogged,
            written=acknowledged_sequence - acknowledged_unlogged - rejected,
            pending=last_sequence - acknowledged_sequence - unlogged,
            dropped=MappingProxyType(dict(self._dropped)),
            rejected=MappingProxyType(dict(self._rejected)),
            log_used_bytes=ring.used_bytes,
            log_bytes=ring.size_bytes,
            arena_used_bytes=arena.used_bytes,
            arena_bytes=arena.size_bytes,
            sent_bytes=sent_bytes,
            transport=transport,
        )
