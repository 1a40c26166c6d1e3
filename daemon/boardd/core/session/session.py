"""One client's session: what it defined, what it sent, what of it is written.

Bytes come in (``define``, ``add_chunk``, ``receive``), parts for runs go out;
``finish`` and ``reject`` bring each part back. In between, nothing here waits
or does I/O. A message is taken whole or, when it contradicts the protocol, not
at all; a record that is merely bad is rejected alone and counted.

Every record is accepted once, by its sequence number. What a client sends
again after a reconnect is counted as a duplicate and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boardd_protos import boardd_pb2 as pb

from boardd.core.budget import Budgets, Intake
from boardd.core.intake.columns import SCALAR_BYTES
from boardd.core.intake.frames import WalkedFrames
from boardd.core.intake.walker import walk_message
from boardd.core.refusals import Refusal
from boardd.core.runs.places import Place
from boardd.core.runs.run_state import Runs, RunState
from boardd.core.runs.schema import Defined, Schema
from boardd.core.session.batch import PART_BYTES, Batch, Counters, DropPart, RunPart
from boardd.core.session.client_identity import ClientIdentity
from boardd.core.session.drops import ClientDrops, Ended
from boardd.core.session.frame_taker import FrameTaker, end_of
from boardd.core.session.half_tensors import HalfTensors
from boardd.core.session.progress import SessionProgress
from boardd.core.session.rejections import Rejections
from boardd.core.session.telling import Telling


class Session:
    """The state of one session; see the module."""

    def __init__(
        self,
        request: pb.OpenRequest,
        sequence: int,
        budgets: Budgets,
        runs: Runs,
        intake: Intake,
        ended: Ended | None = None,
    ) -> None:
        """Begins where every record up to ``sequence`` is written.

        ``ended`` is what is known of the session of that id that ended.
        """
        ended = ended or Ended()
        self.session_id = request.session_id
        self.client = ClientIdentity.of(request)
        self.schema = Schema(self.session_id, self.client.hostname, self.client.pid, budgets, runs)
        #: What the client dropped itself; it outlives the session.
        self.drops = ended.drops if ended.drops is not None else ClientDrops(budgets.max_runs)
        self._runs = runs
        self._intake = intake
        rejections = Rejections(request.heard_rejections, ended.rejections)
        self._progress = SessionProgress(self.session_id, sequence, intake, rejections)
        #: What its client is told.
        self.telling = Telling(self._progress)
        self._tensors = HalfTensors(budgets.max_tensor_bytes, intake)
        self._taker = FrameTaker(
            self._progress, self.schema, self._tensors, budgets.max_tensor_bytes
        )

    def open(self, request: pb.OpenRequest) -> None:
        """Its client opens it; it may have begun with its log alone."""
        self.client = self.client._replace(version=ClientIdentity.of(request).version)
        self.telling.resume(request.heard_rejections)

    @property
    def counters(self) -> Counters:
        """The counts of its records."""
        return self._progress.counters

    @property
    def received_sequence(self) -> int:
        """The last record that was received."""
        return self._progress.received_sequence

    @property
    def written_sequence(self) -> int:
        """Every record up to this one is written or rejected."""
        return self._progress.written_sequence

    @property
    def known_sequence(self) -> int:
        """Up to where all is written, or rejected and known to the client as such."""
        unheard_from = self._progress.rejections.unheard_from
        written = self.written_sequence
        return written if unheard_from is None else min(written, unheard_from - 1)

    @property
    def pending_bytes(self) -> int:
        """Bytes of complete records that are not yet written."""
        return self._progress.pending_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes that the intake is charged for this session."""
        return self._progress.pending_bytes + self._tensors.charged_bytes

    @property
    def open_parts(self) -> int:
        """Parts handed out and not yet back."""
        return self._progress.open_parts

    @property
    def is_quiet(self) -> bool:
        """Whether all that was received is written or rejected."""
        return self._progress.open_parts == 0

    @property
    def tensor_bytes(self) -> int | None:
        """Bytes held of tensors that wait for the rest of their record; None: no tensor does."""
        return self._tensors.charged_bytes if self._tensors else None

    @property
    def in_tensor(self) -> bool:
        """Whether chunks of tensors wait for the rest of their record."""
        return len(self._tensors) > 0

    def look(self, now: float) -> bool:
        """See ``HeldRuns.look``."""
        return self._progress.held_runs.look(now)

    def is_written(self, sequence: int, runs: Sequence[int] = ()) -> bool:
        """Whether all records up to ``sequence`` are done; with ``runs``, all of those runs."""
        if self.written_sequence >= sequence:
            return True
        held_runs = self._progress.held_runs
        return (
            bool(runs)
            and self.received_sequence >= sequence
            and not any(held_runs.has_any(run, sequence) for run in self.schema.runs_among(runs))
        )

    def remembered(self) -> Ended:
        """What is to be known of it, should its client come back."""
        unheard = self._progress.rejections.unheard()
        return Ended(self.written_sequence, self.drops, unheard)

    # What the client says

    def define(self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]) -> Defined:
        """Takes runs and series; arguments and errors as for ``Schema.define``."""
        if definitions.runs:
            self.schema.forget_ended(self._progress.held_runs.is_out)
        defined = self.schema.define(definitions, logdirs)
        for refusal in defined.refusals:
            self.telling.refuse(refusal)
        return defined

    def report(self, report: pb.ClientReport, wall_time: float) -> Batch:
        """Takes the client's cumulative counts of what it dropped itself.

        The runs that they grew for are to tell of it, at ``wall_time`` in seconds since
        the epoch.
        """
        batch = Batch()
        steps = self.drops.take(report, self.counters.dropped_by_client)
        told: dict[RunState, tuple[Place, int]] = {}
        for number, step in steps.items():
            place = self.schema.main_place(number)
            run = place.drops_run if place is not None else None
            if place is None or run is None:
                continue
            if not self.drops.count_in(number, run) or run.refusal is not None:
                continue
            # Two writers of a client may share a run, each with steps of its own.
            first, highest = told.get(run, (place, step))
            told[run] = first, max(highest, step)
        for run, (place, step) in told.items():
            dropped = self.drops.records(self.schema.numbers_of(run))
            is_held = self.schema.holds(place, run)
            self.schema.hold(place, run)
            part = DropPart(
                self.session_id,
                run,
                sequences=None,
                sequence=0,
                records=0,
                size_bytes=PART_BYTES + len(dropped) * SCALAR_BYTES,
                dropped=dropped,
                step=step,
                wall_time=wall_time,
                numbers=(place.number,),
            )
            self._progress.hand_on(part, batch)
            if not is_held:  # the session had ended it; the file is not to stay open
                run.holders.discard((self.session_id, place.number))
                self._progress.hand_on(end_of(place.number, run, self.session_id), batch)
        return batch

    def hand_on(self, part: RunPart) -> Batch:
        """Takes a part of the daemon's own, which has no records."""
        batch = Batch()
        self._progress.hand_on(part, batch)
        return batch

    def add_chunk(self, chunk: pb.TensorChunk) -> None:
        """Takes a chunk of a tensor. Raises ``RequestError`` as ``TensorAssembly.add`` does."""
        if chunk.sequence > self.received_sequence:
            self._tensors.add(chunk)

    def receive(self, frames: bytes) -> Batch:
        """Takes the frames of a message, which came by value.

        Raises ``FrameError`` when they are malformed or leave a gap.
        """
        return self.receive_walked(walk_message(frames, self.received_sequence), None)

    def receive_sparse(
        self, records: pb.Records, maps: Mapping[int, memoryview] | None = None
    ) -> Batch:
        """As ``receive``, of frames between which records are done.

        Their tensors came by value, or lie in the client's ``maps``.
        """
        walked = walk_message(records.frames, self.received_sequence, is_sparse=True)
        batch = self.receive_walked(walked, maps)
        if records.settled_sequence > self.received_sequence:
            self._progress.settle_until(records.settled_sequence)
            batch.told = True
        return batch

    def receive_walked(
        self, frames: Sequence[WalkedFrames], maps: Mapping[int, memoryview] | None
    ) -> Batch:
        """As ``receive``, of frames that follow each other and were walked over before.

        ``maps`` are the client's, by number, if the frames come out of its shared
        ring: their tensors lie there.
        """
        try:
            return self._taker.receive(frames, maps)
        finally:  # also after a defect, which rejects what it had handed out
            self._leave_if_empty()

    def end(self) -> Batch:
        """Ends every run that the session still logs to."""
        batch = Batch()
        for number, run in self.schema.release(self.schema.numbers()):
            self._progress.hand_on(end_of(number, run, self.session_id), batch)
        return batch

    # Parts that come back

    def finish(self, part: RunPart, written_bytes: int, duplicates: int = 0) -> None:
        """Takes back a part whose events are written; see ``SessionProgress.finish``."""
        self._progress.finish(part, written_bytes, duplicates)
        self._leave_if_empty()

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """Takes back a part that cannot be written."""
        self._progress.reject(part, reason, message)
        self._leave_if_empty()

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """Charges ``part`` with ``size_bytes`` from now on: its events, not its tensors."""
        self._progress.recharge(part, size_bytes)

    def _leave_if_empty(self) -> None:
        if not self.pending_bytes and not self.in_tensor:
            self._intake.leave(self.session_id)

    # Its ends

    def detach(self) -> None:
        """Forgets half-received tensors: the client sends them again from the start."""
        self._tensors.clear()
        self._intake.leave(self.session_id)

    def forget(self) -> None:
        """Ends the session's memberships. Nothing of it may be out any more."""
        self.detach()
        self._runs.leave(self.session_id)
