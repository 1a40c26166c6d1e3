"""The disk of a daemon's end: it takes the parts of each run in order, when it is told to."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs, RunState
from boardd.core.session.batch import Batch, EndPart, RunPart, ScalarPart, SummaryPart
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb

from support.pair_ledger import Content, Ledger

#: What the events of one record have on the disk.
EVENT_BYTES: Final = 40


class Disk:
    """What ``runs`` do in the daemon: parts come in order, and go back written or rejected.

    ``session_of`` finds the session that a part goes back to; ``life`` is the daemon's. It
    knows what earlier daemons wrote, as the event files say.
    """

    def __init__(
        self, life: int, ledger: Ledger, runs: Runs, session_of: Callable[[bytes], Session]
    ) -> None:
        self.queues: dict[RunState, deque[RunPart]] = {}
        self.held: set[RunState] = set()  #: runs that write nothing for now
        self._life = life
        self._marks = dict(ledger.marks)
        self._ledger = ledger
        self._runs = runs
        self._session_of = session_of

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be written."""
        return not any(self.queues.values())

    @property
    def can_write(self) -> bool:
        """Whether any run that is not held up has what to write."""
        return any(queue for run, queue in self.queues.items() if run not in self.held)

    def hold_up(self, which: int, trouble: str) -> None:
        """A run that has what to write writes nothing from now on; the daemon may know why."""
        runs = [run for run, queue in self.queues.items() if queue and run not in self.held]
        if runs:
            run = runs[which % len(runs)]
            run.progress.trouble = trouble
            self.held.add(run)

    def go_on(self) -> None:
        """No run is held up any more."""
        for run in self.held:
            run.progress.trouble = ""
        self.held.clear()

    def admitted(self, session_id: bytes) -> set[int]:
        """The sequence numbers of a session's records that are to be written."""
        return {
            sequence
            for queue in self.queues.values()
            for part in queue
            if part.session_id == session_id and not part.is_copy
            for sequence in sequences(part)
        }

    @property
    def queued_bytes(self) -> int:
        """What the parts are charged for that are to be written."""
        return sum(part.size_bytes for queue in self.queues.values() for part in queue)

    def admit(self, batch: Batch) -> None:
        """Takes the next parts."""
        for part in batch.parts:
            self.queues.setdefault(part.run, deque()).append(part)

    def write(self, which: int, parts: int) -> None:
        """The disk takes up to ``parts`` parts of one run, in order."""
        runs = [run for run, queue in self.queues.items() if queue and run not in self.held]
        if runs:
            queue = self.queues[runs[which % len(runs)]]
            for _ in range(min(parts, len(queue))):
                self._write(queue.popleft())

    def reject_some(self, which: int) -> None:
        """The first part of a run cannot be written, or the first half of its scalars."""
        runs = [
            run
            for run, queue in self.queues.items()
            if queue
            and run not in self.held
            and isinstance(queue[0], (ScalarPart, SummaryPart))
            and not queue[0].is_copy
        ]
        if not runs:
            return
        queue = self.queues[runs[which % len(runs)]]
        part = queue.popleft()
        session = self._session_of(part.session_id)
        known = self._known(part)
        rejected = sequences(part)[known:][: max(1, part.records // 2)]
        if known or not rejected:
            self._write(part)
            return
        for sequence in rejected:
            self._ledger.rejected(self._life, part.session_id, sequence, pb.INVALID_NAME)
        if len(rejected) == part.records:
            session.reject(part, pb.INVALID_NAME, "refused")
            return
        split = part.split_off(rejected[0], len(rejected), rejected[-1])
        session.reject(split, pb.INVALID_NAME, "refused")
        self._write(part, len(rejected))

    def refuse(self, which: int) -> RunState | None:
        """The directory of a run is refused from now on; returns the run."""
        runs = [run for run in self._runs.values() if run.refusal is None]
        if runs:
            run = runs[which % len(runs)]
            run.refusal = Refusal(pb.UNWRITABLE, "refused")
            return run
        return None

    def _write(self, part: RunPart, rejected: int = 0) -> None:
        """Writes a part whose first ``rejected`` records were split off."""
        session = self._session_of(part.session_id)
        if part.is_copy:  # what becomes of the record is told with the other part
            if part.run.refusal is not None:
                session.reject(part, pb.RUN_REFUSED, "refused")
            else:
                session.finish(part, EVENT_BYTES * part.records)
            return
        records = sequences(part)[rejected:]
        if part.run.refusal is not None and not isinstance(part, EndPart):
            for sequence in records:
                self._ledger.rejected(self._life, part.session_id, sequence, pb.RUN_REFUSED)
            session.reject(part, pb.RUN_REFUSED, "refused")
            return
        known = self._known(part)
        if isinstance(part, SummaryPart) and not known and part.maps is not None and not part.maps:
            self._ledger.rejected(self._life, part.session_id, part.sequence, pb.TENSOR_LOST)
            session.reject(part, pb.TENSOR_LOST, "gone")
            return
        if isinstance(part, SummaryPart) and not known:
            data = _tensor_of(part)
            part.payload, part.tensors, part.maps = b"", {}, None
            session.recharge(part, EVENT_BYTES)
            content = Content(where(part), part.run.tags[part.tag].decode(), part.step, data)
            self._ledger.written(self._life, part.session_id, part.sequence, content)
        elif isinstance(part, ScalarPart):
            self._write_scalars(part, max(rejected, known))
        elif isinstance(part, EndPart) and not known:
            for sequence in records:
                path = self._ledger.records[part.session_id, sequence].content.path
                self._ledger.written(
                    self._life, part.session_id, sequence, Content(path, "", 0, b"")
                )
        session.finish(part, EVENT_BYTES * len(records), known)

    def _known(self, part: RunPart) -> int:
        """How many of the first records of a part an earlier daemon wrote."""
        mark = self._marks.get((part.session_id, where(part)), 0)
        return sum(sequence <= mark for sequence in sequences(part))

    def _write_scalars(self, part: ScalarPart, rejected: int) -> None:
        columns = part.columns
        for row in range(rejected, len(columns)):
            content = Content(
                where(part),
                part.run.tags[part.tag_index[row]].decode(),
                int(columns.step[row]),
                struct.pack("<d", columns.value[row]),
            )
            sequence = int(columns.sequence[row])
            self._ledger.written(self._life, part.session_id, sequence, content)


def where(part: RunPart) -> str:
    """The directory of a part's run; of a merged one, that which its ranks share."""
    return part.run.group if part.run.is_merged else part.run.path


def sequences(part: RunPart) -> list[int]:
    """The sequence numbers of a part's records."""
    if isinstance(part, ScalarPart):
        return [int(sequence) for sequence in part.columns.sequence]
    return [part.sequence] if part.records else []


def _tensor_of(part: SummaryPart) -> bytes:
    """The bytes of a record's tensor, from its chunks or from the client's memory."""
    if part.maps is None:
        return b"".join(part.tensors.get(0, []))
    (slot,) = pb.Payload.FromString(part.payload).slots
    return bytes(part.maps[slot.map][slot.offset : slot.offset + slot.size_bytes])
