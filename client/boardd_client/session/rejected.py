"""Records that are not written: rejected by the daemon, or lost in this process.

They count once they are done, which an acknowledgement says: what is not acknowledged is sent
to a next daemon, which rejects it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from boardd_protos import boardd_pb2 as pb
from boardd_protos.reasons import reason_name

from boardd_client.session.losses import Loss, LossReason
from boardd_client.session.schema import DefinedRun


@dataclass
class Rejection:
    """Records that the daemon will not write, from sequence number ``first`` to ``last``.

    Or one that was lost in this process after it was numbered. ``is_covered``: the
    acknowledgement that covers it was heard. Each of ``runs`` may have some of them. 0 ``records``:
    a part of one, which is written but for that.
    """

    first: int
    last: int
    records: int
    reason: str
    message: str
    runs: list[DefinedRun]
    is_covered: bool = False


class RejectedRecords:
    """See the module. Not thread-safe: its session locks."""

    def __init__(self) -> None:
        self.last_heard = 0  #: number of the last rejection that was heard
        self._is_heard_due = False
        self._counts: Counter[str] = Counter()
        self._rejections: list[Rejection] = []  # by the daemon, and not counted yet
        self._losses: dict[int, Rejection] = {}  # in this process, and not counted yet

    @property
    def count(self) -> int:
        """Of all that count."""
        return sum(self._counts.values())

    @property
    def are_uncounted(self) -> bool:
        """Whether any was heard of that does not count yet."""
        return bool(self._rejections)

    def by_reason(self) -> dict[str, int]:
        """How many count, by reason."""
        return dict(self._counts)

    def add(self, message: pb.Rejected, last_sequence: int, runs: list[DefinedRun]) -> bool:
        """Notes a rejection by the daemon, unless it is told again; returns whether it is new.

        ``last_sequence`` is the newest record's, ``runs`` those of the records.
        """
        if message.number:
            self._is_heard_due = True
            if message.number <= self.last_heard:
                return False
            self.last_heard = message.number
        records = 0 if message.is_part else max(message.records, 1)
        last = min(message.last_sequence or message.sequence + max(records, 1) - 1, last_sequence)
        reason = reason_name(message.reason)
        self._rejections.append(
            Rejection(message.sequence, last, records, reason, message.message, runs)
        )
        return True

    def heard_number(self) -> int:
        """What the daemon is to be told of what was heard; 0 if nothing."""
        is_due, self._is_heard_due = self._is_heard_due, False
        return self.last_heard if is_due else 0

    def covered(self) -> None:
        """An acknowledgement was heard, which covers the rejections heard before it."""
        for rejection in self._rejections:
            rejection.is_covered = True

    def outside(self, sequence: int) -> int:
        """As much of what is done up to ``sequence`` as ends inside of no rejection."""
        for rejection in sorted(self._rejections, key=lambda known: known.last, reverse=True):
            if rejection.first <= sequence < rejection.last:
                sequence = rejection.first - 1
        return sequence

    def lost(self, sequence: int, loss: Loss, run: DefinedRun | None) -> None:
        """Notes a record that was lost in this process; it counts once it is done."""
        runs = [] if run is None else [run]
        self._losses[sequence] = Rejection(
            sequence, sequence, 1, loss.reason.value, loss.message, runs
        )

    def interrupted(self, sequence: int) -> None:
        """Notes a record whose call raised after it was numbered and before it was written."""
        # Its frame names no run.
        self.lost(sequence, Loss(LossReason.CAPTURE_FAILED, "interrupted by an error"), None)

    def resume(self, received_sequence: int) -> None:
        """A daemon goes on behind a record: what it gets again it will reject again."""
        self._rejections = [known for known in self._rejections if known.last <= received_sequence]

    def settle(self, through_sequence: int, is_parked: Callable[[int], bool]) -> None:
        """Counts what is done up to a record, unless ``is_parked`` says that it is not."""
        uncounted = []
        for rejection in self._rejections:
            if rejection.is_covered and rejection.last <= through_sequence:
                self._count(rejection)
            else:
                uncounted.append(rejection)
        self._rejections = uncounted
        for sequence in [number for number in self._losses if number <= through_sequence]:
            if not is_parked(sequence):
                self._add(self._losses.pop(sequence), 1)

    def _count(self, rejection: Rejection) -> None:
        records = rejection.records
        if rejection.reason == LossReason.CAPTURE_FAILED.value:
            # Those that were lost here have reasons of their own.
            for sequence in sorted(self._losses):
                is_inside = rejection.first <= sequence <= rejection.last
                if records and is_inside and _is_of(self._losses[sequence], rejection):
                    records -= 1
                    self._add(self._losses.pop(sequence), 1)
        if records:
            self._add(rejection, records)
        elif not rejection.records:
            for run in rejection.runs:
                run.written_in_part += 1
                run.last_left_out = f"{rejection.reason}: {rejection.message}"

    def _add(self, rejection: Rejection, records: int) -> None:
        self._counts[rejection.reason] += records
        for run in rejection.runs:
            run.rejected += records
            run.last_rejection = f"{rejection.reason}: {rejection.message}"


def _is_of(loss: Rejection, rejection: Rejection) -> bool:
    """Whether the run of ``loss`` is one of those of ``rejection``; or neither has any."""
    if not loss.runs:
        return not rejection.runs
    return any(run is loss.runs[0] for run in rejection.runs)
