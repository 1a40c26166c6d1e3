"""One client's session: what it defined, what it sent, what of it is written.

Bytes come in (``define``, ``add_chunk``, ``receive``), parts for runs go out;
``finish`` and ``reject`` bring each part back. In between, nothing here waits
or does I/O. A message is taken whole or, when it contradicts the protocol, not
at all; a record that is merely bad is rejected alone and counted.

Every record is accepted once, by its sequence number. What a client sends
again after a reconnect is counted as a duplicate and ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, frame_bytes
from numpy.typing import NDArray

from boardd.core.budget import Budgets, Intake
from boardd.core.intake.columns import SCALAR_BYTES, Columns
from boardd.core.intake.frames import ScalarFrames, check_sequence, split
from boardd.core.intake.tensors import TensorAssembly
from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs, RunState
from boardd.core.runs.schema import Defined, Place, Schema
from boardd.core.session.batch import (
    Batch,
    Counters,
    DropPart,
    EndPart,
    RejectedPart,
    RunPart,
    ScalarPart,
    SequenceRange,
    SummaryPart,
)
from boardd.core.session.drops import ClientDrops
from boardd.core.session.rejections import Rejection, Rejections
from boardd.core.session.scalars import rejection, resolve
from boardd.core.session.watermark import Watermark

#: Characters of names that a client gives for people to read.
MAX_TEXT = 256
#: What a record costs whose tensors are the client's memory, beside its frame.
RECORD_BYTES = 1024


class Session:
    """The state of one session; see the module."""

    def __init__(
        self,
        request: pb.OpenRequest,
        sequence: int,
        budgets: Budgets,
        runs: Runs,
        intake: Intake,
        drops: ClientDrops | None = None,
    ) -> None:
        """Begins where every record up to ``sequence`` is written.

        ``drops`` are those of the session of that id that ended, where they are known.
        """
        self.session_id = request.session_id
        self.hostname = request.hostname[:MAX_TEXT]
        self.pid = request.pid
        self.program = request.program[:MAX_TEXT]
        self.counters = Counters()
        self.received_sequence = sequence
        #: Bytes of complete records that are not yet written.
        self.pending_bytes = 0
        #: Parts handed out and not yet back.
        self.open_parts = 0
        self.schema = Schema(self.session_id, self.hostname, self.pid, budgets, runs)
        self._budgets = budgets
        self._runs = runs
        self._intake = intake
        self._watermark = Watermark(sequence)
        self._maps: Mapping[int, memoryview] | None = None
        self._assembly = TensorAssembly(budgets.max_tensor_bytes)
        self._rejections = Rejections()
        #: What the client dropped itself; it outlives the session.
        self.drops = drops if drops is not None else ClientDrops(budgets.max_runs)

    @property
    def written_sequence(self) -> int:
        """Every record up to this one is written or rejected."""
        return self._watermark.written_sequence

    @property
    def in_tensor(self) -> bool:
        """Whether pieces of tensors wait for the rest of their record."""
        return len(self._assembly) > 0

    @property
    def has_rejections(self) -> bool:
        """Whether ``take_rejections`` would return any."""
        return len(self._rejections) > 0

    def take_rejections(self) -> list[Rejection]:
        """Returns the rejections since the last call."""
        return self._rejections.take()

    def define(self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]) -> Defined:
        """Takes runs, series and sets; arguments and errors as for ``Schema.define``."""
        return self.schema.define(definitions, logdirs)

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
            if place is None or place.run is None:
                continue
            if not self.drops.count_in(number, place.run) or place.refusal is not None:
                continue
            # Two writers of a client may share a run, each with steps of its own.
            first, highest = told.get(place.run, (place, step))
            told[place.run] = first, max(highest, step)
        for run, (place, step) in told.items():
            is_held = self.schema.holds(place)
            self.schema.hold(place, run)
            part = DropPart(
                self.session_id,
                run,
                span=None,
                sequence=0,
                records=0,
                size_bytes=(1 + len(run.dropped)) * SCALAR_BYTES,
                dropped=dict(run.dropped),
                step=step,
                wall_time=wall_time,
            )
            self._hand_on(part, batch)
            if not is_held:  # the session had ended it; the file is not to stay open
                run.holders.discard((self.session_id, place.number))
                self._hand_on(self._end_of(run, None, 0, 0), batch)
        return batch

    # Records

    def add_chunk(self, chunk: pb.TensorChunk) -> None:
        """Takes a piece of a tensor. Raises ``RequestError`` as ``TensorAssembly.add`` does."""
        if chunk.sequence <= self.received_sequence:
            return
        before = self._assembly.held_bytes
        self._assembly.add(chunk.sequence, chunk.tensor, chunk.offset, chunk.data)
        self._charge(self._assembly.held_bytes - before)

    def receive(self, frames: bytes, maps: Mapping[int, memoryview] | None = None) -> Batch:
        """Takes whole frames. Raises ``FrameError`` when they are malformed or leave a gap.

        ``maps`` are the client's, by number, where the frames come of its shared
        log: their tensors lie there. Frames of definitions are passed over.
        """
        items = list(split(frames))
        check_sequence(items, self.received_sequence)
        self._maps = maps
        batch = Batch()
        before = self.written_sequence
        try:
            for item in items:
                if isinstance(item, Frame):
                    self._take_frame(item, batch)
                else:
                    self._take_stretch(item, batch)
        except BaseException:
            # A defect: nobody would bring back what was to go out.
            for part in batch.parts:
                self.reject(part, pb.REDUCTION_FAILED, "a defect of the daemon")
            raise
        finally:
            self._maps = None  # it would keep maps that the client releases
        if self._assembly:
            held_bytes = self._assembly.held_bytes
            self._assembly.forget_until(self.received_sequence)
            self._charge(self._assembly.held_bytes - held_bytes)
        self._leave_if_empty()
        batch.told = self.written_sequence > before or self.has_rejections
        return batch

    def _take_stretch(self, stretch: ScalarFrames, batch: Batch) -> None:
        known_already = max(0, self.received_sequence + 1 - stretch.first_sequence)
        if known_already:
            self.counters.duplicates += stretch[:known_already].records()
            stretch = stretch[known_already:]
            if not len(stretch):
                return
        span = self._accept(stretch.first_sequence, stretch.last_sequence, stretch.records())
        scalars = resolve(stretch, self.schema)
        for rejected in scalars.rejections:
            self._count_rejection(rejected)
        for index, columns, tag in scalars.by_place():
            self._take_scalars(self.schema.place(index), span, columns, tag, batch)
        self._close_if_empty(span)

    def _take_scalars(
        self,
        place: Place,
        span: SequenceRange,
        columns: Columns,
        tag: NDArray[np.intp],
        batch: Batch,
    ) -> None:
        if place.run is None or place.refusal is not None:
            self._count_rejection(rejection(columns, pb.RUN_REFUSED, _refused(place)))
            return
        self.schema.hold(place, place.run)
        part = ScalarPart(
            self.session_id,
            place.run,
            span,
            sequence=int(columns.sequence[0]),
            records=len(columns),
            size_bytes=len(columns) * SCALAR_BYTES,
            columns=columns,
            tag_index=tag,
        )
        self._hand_on(part, batch)

    def _take_frame(self, frame: Frame, batch: Batch) -> None:
        if frame.kind == FrameKind.DEFINITIONS:  # of a log that is, or could have been, shared
            if frame.sequence > self.received_sequence:
                self._close_if_empty(self._accept(frame.sequence, frame.sequence, 0))
            return
        if frame.sequence <= self.received_sequence:
            self.counters.duplicates += 1
            return
        span = self._accept(frame.sequence, frame.sequence, 1)
        if frame.flags:
            self._reject(frame, pb.INVALID_RECORD, f"flags {frame.flags:#x}; none are allowed")
        elif frame.kind == FrameKind.SUMMARY:
            self._take_summary(frame, span, batch)
        elif frame.kind == FrameKind.END_RUN:
            self._take_end(frame, span, batch)
        elif frame.kind == FrameKind.ABORTED:
            why = frame.payload[:MAX_TEXT].decode(errors="replace")
            self._reject(frame, pb.CAPTURE_FAILED, why)
        elif frame.kind == FrameKind.SCALAR:
            self._reject(frame, pb.INVALID_RECORD, "a scalar has no payload")
        else:
            self._reject(frame, pb.UNSUPPORTED, f"this daemon knows no record kind {frame.kind}")
        self._close_if_empty(span)

    def _take_summary(self, frame: Frame, span: SequenceRange, batch: Batch) -> None:
        held_bytes = self._assembly.held_bytes
        pieces = self._assembly.take(frame.sequence)
        index, tag, reason = self.schema.find_one(frame.target)
        place = self.schema.place(index) if reason == 0 else None
        if place is None:
            self._reject(frame, reason, self.schema.why(frame.target))
        elif not math.isfinite(frame.wall_time):
            message = f"wall_time {frame.wall_time} is not finite"
            self._reject(frame, pb.INVALID_RECORD, message)
        elif pieces.too_large:
            size_bytes = sum(pieces.lengths.values())
            message = (
                f"tensors of {size_bytes} bytes; at most {self._budgets.max_tensor_bytes} are "
                "taken, see --max-tensor-bytes"
            )
            self._reject(frame, pb.TENSOR_TOO_LARGE, message)
        elif place.run is None or place.refusal is not None:
            self._reject(frame, pb.RUN_REFUSED, _refused(place))
        else:
            self.schema.hold(place, place.run)
            part = SummaryPart(
                self.session_id,
                place.run,
                span,
                sequence=frame.sequence,
                records=1,
                size_bytes=frame_bytes(len(frame.payload))
                + (pieces.held_bytes if self._maps is None else RECORD_BYTES),
                tag=tag,
                step=frame.step,
                wall_time=frame.wall_time,
                payload=frame.payload,
                tensors=pieces.tensors,
                maps=self._maps,
            )
            self._hand_on(part, batch)
        # After the part was charged: what is held must not dip in between.
        self._charge(self._assembly.held_bytes - held_bytes)

    def _take_end(self, frame: Frame, span: SequenceRange, batch: Batch) -> None:
        if frame.target not in self.schema:
            self._reject(frame, pb.UNDEFINED_SERIES, f"run {frame.target} is not defined")
            return
        runs = self.schema.release([frame.target])
        for index, run in enumerate(runs):
            # One record ends several directories; the first part counts it.
            records = 1 if index == 0 else 0
            self._hand_on(self._end_of(run, span, frame.sequence, records), batch)
        if not runs:
            self.counters.written += 1

    def end(self) -> Batch:
        """Ends every run that the session still logs to."""
        batch = Batch()
        for run in self.schema.release(self.schema.numbers()):
            self._hand_on(self._end_of(run, None, 0, 0), batch)
        return batch

    def _end_of(
        self, run: RunState, span: SequenceRange | None, sequence: int, records: int
    ) -> EndPart:
        size_bytes = records * frame_bytes(0)
        return EndPart(self.session_id, run, span, sequence, records, size_bytes)

    def _accept(self, first: int, last: int, records: int) -> SequenceRange:
        self.counters.accepted += records
        self.received_sequence = last
        return SequenceRange(first, last)

    def _hand_on(self, part: RunPart, batch: Batch) -> None:
        if part.span is not None:
            part.span.parts += 1
        part.run.pending += part.records
        self.counters.pending += part.records
        self.pending_bytes += part.size_bytes
        self.open_parts += 1
        self._charge(part.size_bytes)
        batch.parts.append(part)

    def _close_if_empty(self, span: SequenceRange) -> None:
        if span.parts == 0:
            self._watermark.finish(span.first, span.last)

    # Parts that come back

    def finish(self, part: RunPart, written_bytes: int) -> None:
        """Takes back a part whose events, ``written_bytes`` of them, are written."""
        self.counters.written += part.records
        self.counters.written_bytes += written_bytes
        self._return(part)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """Takes back a part that cannot be written."""
        if part.records:
            self._count_rejection(
                Rejection(part.sequence, part.records, reason, message, part.last_sequence)
            )
        self._return(part)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """Charges ``part`` with ``size_bytes`` from now on: its events, not its tensors."""
        self._charge(size_bytes - part.size_bytes)
        self.pending_bytes += size_bytes - part.size_bytes
        part.size_bytes = size_bytes

    def _return(self, part: RunPart) -> None:
        part.run.pending -= part.records
        self.counters.pending -= part.records
        self.pending_bytes -= part.size_bytes
        self.open_parts -= not isinstance(part, RejectedPart)
        self._intake.release(part.size_bytes)
        self._leave_if_empty()
        if part.span is not None:
            part.span.parts -= 1
            self._close_if_empty(part.span)

    def _leave_if_empty(self) -> None:
        if not self.pending_bytes and not self.in_tensor:
            self._intake.leave(self.session_id)

    def detach(self) -> None:
        """Forgets half-received tensors: the client sends them again from the start."""
        self._intake.release(self._assembly.held_bytes)
        self._assembly = TensorAssembly(self._budgets.max_tensor_bytes)
        self._intake.leave(self.session_id)

    def forget(self) -> None:
        """Ends the session's memberships. Nothing of it may be out any more."""
        self.detach()
        self._runs.leave(self.session_id)

    def _charge(self, size_bytes: int) -> None:
        if size_bytes >= 0:
            self._intake.charge(size_bytes)
        else:
            self._intake.release(-size_bytes)

    # Rejections

    def _reject(self, frame: Frame, reason: int, message: str) -> None:
        self._count_rejection(Rejection(frame.sequence, 1, reason, message, frame.sequence))

    def _count_rejection(self, rejection: Rejection) -> None:
        self.counters.reject(rejection.reason, rejection.records)
        self._rejections.add(rejection)


def _refused(place: Place) -> str:
    return place.refusal.message if place.refusal is not None else ""
