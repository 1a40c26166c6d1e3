"""Takes frames apart: records become parts for runs, or are rejected one by one.

Every record is accepted once, by its sequence number. One that is merely bad is rejected
alone and counted; only frames that contradict the protocol are refused as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from boardd.core.intake.columns import SCALAR_BYTES, Columns
from boardd.core.intake.frames import ScalarFrames, WalkedFrames
from boardd.core.intake.tensors import TensorChunks
from boardd.core.refusals import RefusedError
from boardd.core.runs.own_run import OwnRun
from boardd.core.runs.places import Place, Purge
from boardd.core.runs.run_state import RunState
from boardd.core.runs.schema import Schema
from boardd.core.session.batch import (
    PART_BYTES,
    SCALAR_PART_BYTES,
    Batch,
    EndPart,
    PurgePart,
    ScalarPart,
    SequenceRange,
)
from boardd.core.session.half_tensors import HalfTensors
from boardd.core.session.progress import SessionProgress
from boardd.core.session.rejections import Rejection
from boardd.core.session.scalars import rejection, resolve
from boardd.core.session.targets import SUMMARIES, Target, slot_bytes, summary_part, target_of

#: Bytes of a client's reason for an aborted record; the rest is cut off.
MAX_REASON_BYTES: Final = 256
#: What stands before the field of a payload that asks for health, see protobuf.dev, "Encoding".
_HEALTH_TAG: Final = b"\xf2\x01"


def end_of(
    number: int,
    run: RunState,
    session_id: bytes,
    sequences: SequenceRange | None = None,
    sequence: int = 0,
    records: int = 0,
) -> EndPart:
    """The part that ends a session's part in ``run``; no record of its own unless one is given.

    ``number`` is the session's of the run.
    """
    return EndPart(session_id, run, sequences, sequence, records, PART_BYTES, numbers=(number,))


class FrameTaker:
    """Takes the frames of one session apart."""

    def __init__(
        self, progress: SessionProgress, schema: Schema, tensors: HalfTensors, max_tensor_bytes: int
    ) -> None:
        self._progress = progress
        self._schema = schema
        self._tensors = tensors
        self._max_tensor_bytes = max_tensor_bytes
        self._maps: Mapping[int, memoryview] | None = None

    def receive(
        self, frames: Sequence[WalkedFrames], maps: Mapping[int, memoryview] | None
    ) -> Batch:
        """Takes frames in sequence; see ``Session.receive_walked``."""
        progress = self._progress
        self._maps = maps
        batch = Batch()
        before = progress.written_sequence
        try:
            for frame in frames:
                if isinstance(frame, Frame):
                    self._take_frame(frame, batch)
                else:
                    self._take_scalar_frames(frame, batch)
        except BaseException:
            # A defect: nobody would bring back what was to go out.
            for part in batch.parts:
                progress.reject(part, pb.REDUCTION_FAILED, "a defect of the daemon")
            raise
        finally:
            self._maps = None  # it would keep maps that the client releases
        self._tensors.forget_until(progress.received_sequence)
        batch.told = progress.written_sequence > before or progress.rejections.are_waiting
        return batch

    # Scalars

    def _take_scalar_frames(self, frames: ScalarFrames, batch: Batch) -> None:
        progress = self._progress
        if frames.first_sequence <= progress.received_sequence:
            known = frames.count_until(progress.received_sequence)
            progress.counters.duplicates += known
            frames = frames[known:]
            if not len(frames):
                return
        places = self._schema.places
        while places.has_unpurged:
            place, _, reason = self._schema.find(frames.headers["target"])
            first = places.first_to_purge(place, reason)
            if first is None:
                break
            if first:
                self._take_new_scalars(frames[:first], batch)
            self._purge(int(place[first]), batch)
            frames = frames[first:]
        self._take_new_scalars(frames, batch)

    def _take_new_scalars(self, frames: ScalarFrames, batch: Batch) -> None:
        progress = self._progress
        sequences = progress.accept(frames.first_sequence, frames.last_sequence, len(frames))
        scalars = resolve(frames, self._schema)
        for rejected in scalars.rejections:
            self._count_rejection(rejected)
        for indexes, columns, tag in scalars.by_run(self._schema.places.first):
            places = [self._schema.places[index] for index in indexes]
            self._take_scalars(places, sequences, columns, tag, batch)
        progress.close_if_empty(sequences)

    def _take_scalars(
        self,
        places: Sequence[Place],
        sequences: SequenceRange,
        columns: Columns,
        tag: NDArray[np.intp],
        batch: Batch,
    ) -> None:
        place = places[0]
        if place.run is None or place.refusal is not None:
            refused = rejection(columns, pb.RUN_REFUSED, _refused(place), (place.number,))
            self._progress.count_rejection(refused, place.run)
            return
        own = place.own
        self._hand_on_scalars(places, place.run, sequences, columns, tag, batch)
        if own is not None and own.open_run is not None:
            tag = own.tags.of(tag)
            self._hand_on_scalars(
                places, own.open_run, sequences, columns, tag, batch, is_copy=True
            )

    def _hand_on_scalars(
        self,
        places: Sequence[Place],
        run: RunState,
        sequences: SequenceRange,
        columns: Columns,
        tag: NDArray[np.intp],
        batch: Batch,
        *,
        is_copy: bool = False,
    ) -> None:
        for held in places:
            self._schema.hold(held, run)
        part = ScalarPart(
            self._progress.session_id,
            run,
            sequences,
            sequence=int(columns.sequence[0]),
            records=len(columns),
            size_bytes=SCALAR_PART_BYTES + len(columns) * SCALAR_BYTES,
            columns=columns,
            tag_index=tag,
            numbers=tuple(sorted({held.number for held in places})),
            is_copy=is_copy,
        )
        self._progress.hand_on(part, batch)

    # Resumed runs

    def _purge(self, index: int, batch: Batch) -> None:
        """Hands on what is to be done before the first record of a place."""
        for place, purge in self._schema.places.take_purges(index):
            if place.refusal is None:
                for run in place.runs:
                    self._purge_run(place, run, purge, batch)

    def _purge_run(self, place: Place, run: RunState, purge: Purge, batch: Batch) -> None:
        if run.refusal is not None:
            return
        self._schema.hold(place, run)
        part = PurgePart(
            self._progress.session_id,
            run,
            sequences=None,
            sequence=0,
            records=0,
            size_bytes=PART_BYTES,
            epoch=purge.epoch,
            step=purge.step,
            numbers=(place.number,),
        )
        self._progress.hand_on(part, batch)

    # Single records

    def _take_frame(self, frame: Frame, batch: Batch) -> None:
        progress = self._progress
        if frame.sequence <= progress.received_sequence:
            progress.counters.duplicates += 1
            return
        sequences = progress.accept(frame.sequence, frame.sequence, 1)
        if frame.flags:
            self._reject(frame, pb.INVALID_RECORD, f"flags {frame.flags:#x}; none are allowed")
        elif frame.kind in SUMMARIES:
            self._take_summary(frame, sequences, batch)
        elif frame.kind == FrameKind.END_RUN:
            self._take_end(frame, sequences, batch)
        elif frame.kind == FrameKind.ABORTED:
            why = frame.payload[:MAX_REASON_BYTES].decode(errors="replace")
            self._reject(frame, pb.CAPTURE_FAILED, why)
        elif frame.kind == FrameKind.SCALAR:
            self._reject(frame, pb.INVALID_RECORD, "a scalar has no payload")
        else:
            self._reject(frame, pb.UNSUPPORTED, f"this daemon knows no record kind {frame.kind}")
        progress.close_if_empty(sequences)

    def _take_summary(self, frame: Frame, sequences: SequenceRange, batch: Batch) -> None:
        chunks = self._tensors.take(frame.sequence)
        try:
            target = target_of(frame, self._schema)
        except RefusedError as error:
            self._reject(frame, error.reason, str(error))
        else:
            self._take_targeted(frame, target, sequences, chunks, batch)
        # After the part was charged: what is held must not dip in between.
        self._tensors.settle()

    def _take_targeted(
        self,
        frame: Frame,
        target: Target,
        sequences: SequenceRange,
        chunks: TensorChunks,
        batch: Batch,
    ) -> None:
        place = target.place
        if not math.isfinite(frame.wall_time):
            message = f"wall_time {frame.wall_time} is not finite"
            self._reject(frame, pb.INVALID_RECORD, message)
        elif chunks.too_large:
            message = (
                f"tensors of {sum(chunks.lengths.values())} bytes; at most "
                f"{self._max_tensor_bytes} are taken, see --max-tensor-bytes"
            )
            self._reject(frame, pb.TENSOR_TOO_LARGE, message)
        elif place.run is None or place.refusal is not None:
            self._reject(frame, pb.RUN_REFUSED, _refused(place))
        else:
            self._purge(target.index, batch)
            own = place.own
            sequences.size_bytes += slot_bytes(frame.payload, self._maps)
            self._hand_on_summary(frame, target, place.run, target.tag, sequences, chunks, batch)
            if own is not None and own.open_run is not None and _keeps(own, frame.payload):
                tag = own.tags.of_one(target.tag)
                self._hand_on_summary(
                    frame, target, own.open_run, tag, sequences, chunks, batch, is_copy=True
                )

    def _hand_on_summary(
        self,
        frame: Frame,
        target: Target,
        run: RunState,
        tag: int,
        sequences: SequenceRange,
        chunks: TensorChunks,
        batch: Batch,
        *,
        is_copy: bool = False,
    ) -> None:
        self._schema.hold(target.place, run)
        part = summary_part(frame, target, self._progress.session_id, run, tag, sequences, chunks)
        own = target.place.own
        part.maps, part.is_copy = self._maps, is_copy
        part.is_health_only = is_copy and own is not None and not own.takes_summaries
        self._progress.hand_on(part, batch)

    def _take_end(self, frame: Frame, sequences: SequenceRange, batch: Batch) -> None:
        if frame.target not in self._schema:  # past a budget, or ended twice
            self._progress.counters.written += 1
            return
        session_id = self._progress.session_id
        runs = self._schema.release([frame.target])
        for index, (number, run) in enumerate(runs):
            # One record ends several directories; the first part counts it.
            records = 1 if index == 0 else 0
            part = end_of(number, run, session_id, sequences, frame.sequence, records)
            self._progress.hand_on(part, batch)
        if not runs:
            self._progress.counters.written += 1

    def _reject(self, frame: Frame, reason: int, message: str) -> None:
        run = self._schema.run_of(frame.target)
        runs = (run,) if run else ()
        self._count_rejection(Rejection(frame.sequence, 1, reason, message, frame.sequence, runs))

    def _count_rejection(self, rejection: Rejection) -> None:
        place = self._schema.main_place(rejection.runs[0]) if rejection.runs else None
        self._progress.count_rejection(rejection, place.run if place is not None else None)


def _keeps(own: OwnRun, payload: bytes) -> bool:
    """Whether the rank's own run gets a summary, or the health of its tensors alone.

    What ranks merge tells of no health.
    """
    if own.takes_summaries:
        return True
    if _HEALTH_TAG not in payload:  # as nearly always: to parse it takes longer
        return False
    try:
        return bool(pb.Payload.FromString(payload).HasField("health"))
    except DecodeError:  # which the reduction refuses
        return False


def _refused(place: Place) -> str:
    return place.refusal.message if place.refusal is not None else ""
