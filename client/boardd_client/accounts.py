"""Counts of a session's records: taken, dropped, rejected, and so written."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from boardd_protos import boardd_pb2 as pb

from boardd_client.definitions import Run


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
    sent_bytes: int = 0  #: frames and tensors, those sent again included


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
    run: Run | None
    is_local: bool = False


class Accounts:
    """Not thread-safe: its session locks."""

    def __init__(self) -> None:
        self._dropped: Counter[str] = Counter()
        self._dropped_bytes: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._rejections: list[Rejection] = []  # not yet covered by an acknowledgement
        self._ends: deque[tuple[int, int]] = deque()  # sequence and run of END_RUN records
        self._ends_acknowledged = 0

    def drop(self, reason: str, size_bytes: int) -> int:
        """Counts a record that was not accepted; returns how many there are of that reason."""
        self._dropped[reason] += 1
        self._dropped_bytes[reason] += size_bytes
        return self._dropped[reason]

    def report(self) -> pb.ClientReport | None:
        """What the daemon is to be told of drops, if that has changed."""
        if self._dropped == self._reported:
            return None
        self._reported = self._dropped.copy()
        return pb.ClientReport(
            dropped=[
                pb.DropCount(reason=reason, records=records, size_bytes=self._dropped_bytes[reason])
                for reason, records in self._dropped.items()
            ]
        )

    def add_end(self, sequence: int, run: int) -> None:
        """Notes an END_RUN record, which no user logged and no count shows."""
        self._ends.append((sequence, run))

    def add_rejection(self, rejection: Rejection) -> None:
        """Notes a rejection; it counts once its last record is acknowledged."""
        self._rejections.append(rejection)

    def resume(self, received_sequence: int) -> None:
        """A daemon goes on behind a record: what it gets again it will reject again."""
        self._reported.clear()
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
        while self._ends and self._ends[0][0] <= acknowledged_sequence:
            ended.append(self._ends.popleft()[1])
        self._ends_acknowledged += len(ended)
        return ended

    def statistics(
        self,
        last_sequence: int,
        acknowledged_sequence: int,
        *,
        sent_bytes: int,
        log: tuple[int, int],
        arena: tuple[int, int],
    ) -> Statistics:
        """A snapshot; ``log`` and ``arena`` are used bytes and size."""
        rejected = sum(self._rejected.values())
        return Statistics(
            accepted=last_sequence - self._ends_acknowledged - len(self._ends),
            written=acknowledged_sequence - self._ends_acknowledged - rejected,
            pending=last_sequence - acknowledged_sequence - len(self._ends),
            dropped=MappingProxyType(dict(self._dropped)),
            rejected=MappingProxyType(dict(self._rejected)),
            log_used_bytes=log[0],
            log_bytes=log[1],
            arena_used_bytes=arena[0],
            arena_bytes=arena[1],
            sent_bytes=sent_bytes,
        )


def reason_name(reason: int) -> str:
    """The name of a ``Reason``, or its number where a newer daemon sent it."""
    value = pb.Reason.DESCRIPTOR.values_by_number.get(reason)
    return value.name if value is not None else f"REASON_{reason}"
