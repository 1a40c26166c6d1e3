"""How far a session is: what it accepted, what is out, and what of it is written.

``accepted = written + rejected + pending`` at any moment, and the intake is charged for
every part from the moment it goes out until it is back. A record that goes to two runs is
counted with the part that is no copy, and acknowledged when both are back.
"""

from __future__ import annotations

from boardd.core.budget import Intake
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import (
    Batch,
    Counters,
    MeasuredPart,
    RejectedPart,
    RunPart,
    ScalarPiece,
    SequenceRange,
)
from boardd.core.session.held_runs import HeldRuns
from boardd.core.session.rejections import Rejection, Rejections
from boardd.core.session.settled import Settled
from boardd.core.session.watermark import Watermark


class SessionProgress:
    """How far the session ``session_id`` is, which begins after record ``sequence``.

    ``rejections`` are those that its client has not heard of.
    """

    def __init__(
        self,
        session_id: bytes,
        sequence: int,
        intake: Intake,
        rejections: Rejections,
    ) -> None:
        self.session_id = session_id
        self.counters = Counters()
        self.received_sequence = sequence
        #: Of records that are done, in bytes: what their client kept for them, about.
        self.done_bytes = 0
        #: Bytes of complete records that are not yet written.
        self.pending_bytes = 0
        #: Parts handed out and not yet back.
        self.open_parts = 0
        self._intake = intake
        self._watermark = Watermark(sequence)
        self.rejections = rejections
        self.held_runs = HeldRuns(session_id)

    @property
    def written_sequence(self) -> int:
        """Every record up to this one is written or rejected."""
        return self._watermark.written_sequence

    @property
    def settled(self) -> Settled:
        """What may be acknowledged."""
        if not self.held_runs and not self.rejections.are_waiting:  # as nearly always
            return Settled(self._watermark.written_sequence)
        settled = self.held_runs.settled(self.written_sequence, self.received_sequence)
        if self.rejections.are_waiting:
            return settled.outside(self.rejections.waiting)
        return settled

    # What comes in and goes out

    def accept(self, first: int, last: int, records: int) -> SequenceRange:
        """Counts ``records`` new ones, with the sequence numbers ``first`` to ``last``.

        What lies between the last one and ``first`` was done before.
        """
        self.settle_until(first - 1)
        self.counters.accepted += records
        self.received_sequence = last
        return SequenceRange(first, last)

    def settle_until(self, sequence: int) -> None:
        """What was not received up to ``sequence`` was done before: by another daemon."""
        if sequence > self.received_sequence:
            self._watermark.finish(self.received_sequence + 1, sequence)
            self.received_sequence = sequence

    def hand_on(self, part: RunPart, batch: Batch) -> None:
        """Adds ``part`` to ``batch``, and charges the intake for it."""
        if part.sequences is not None:
            part.sequences.parts += 1
            part.sequences.size_bytes += 0 if part.is_copy else part.size_bytes
        part.run.pending += part.records
        self.counters.pending += part.counted_records
        self.pending_bytes += part.size_bytes
        self.open_parts += 1
        self.held_runs.add(part)
        self._intake.charge(part.size_bytes)
        batch.parts.append(part)

    def close_if_empty(self, sequences: SequenceRange) -> None:
        """Finishes ``sequences`` if none of its parts is out."""
        if sequences.parts == 0:
            self.done_bytes += sequences.size_bytes
            self._watermark.finish(sequences.first, sequences.last)

    # What comes back

    def finish(self, part: RunPart, written_bytes: int, duplicates: int = 0) -> None:
        """Takes back a part whose events, ``written_bytes`` of them, are written.

        ``duplicates`` of its records were written before, by an earlier daemon.
        """
        self.counters.written += part.counted_records
        if not part.is_copy:
            self.counters.duplicates += duplicates
        self.counters.written_bytes += written_bytes
        self._return(part)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """Takes back a part that cannot be written."""
        is_part_of_one = isinstance(part, RejectedPart) and not part.records
        if part.counted_records or is_part_of_one:
            runs = part.numbers or tuple(
                number for session_id, number in part.run.members if session_id == self.session_id
            )
            self.count_rejection(
                Rejection(part.sequence, part.records, reason, message, part.last_sequence, runs),
                part.run,
            )
        self._return(part)

    def count_rejection(self, rejection: Rejection, run: RunState | None) -> None:
        """Counts accepted records that are in no part; ``run`` is the one they were meant for."""
        self.counters.reject(rejection.reason, rejection.records)
        if run is not None and rejection.records:
            run.progress.reject(rejection.reason, rejection.records)
        self.rejections.add(rejection)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """Charges ``part`` with ``size_bytes`` from now on: its events, not its tensors."""
        if size_bytes >= part.size_bytes:
            self._intake.charge(size_bytes - part.size_bytes)
        else:
            self._intake.release(part.size_bytes - size_bytes)
        self.pending_bytes += size_bytes - part.size_bytes
        part.size_bytes = size_bytes

    def _return(self, part: RunPart) -> None:
        if isinstance(part, MeasuredPart):
            part.is_back = True
        part.run.pending -= part.records
        self.counters.pending -= part.counted_records
        self.pending_bytes -= part.size_bytes
        if not isinstance(part, (RejectedPart, ScalarPiece)):
            self.open_parts -= 1
            self.held_runs.remove(part)
        self._intake.release(part.size_bytes)
        if part.sequences is not None:
            part.sequences.parts -= 1
            self.close_if_empty(part.sequences)
