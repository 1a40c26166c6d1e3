"""Which series a record with a summary is for: one, or several of one directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind
from boardd_protos.limits import MAX_HISTOGRAMS
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from boardd.core.intake.tensors import TensorChunks
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.places import Place
from boardd.core.runs.run_state import RunState
from boardd.core.runs.schema import Schema
from boardd.core.session.batch import PART_BYTES, SequenceRange, SeriesPart, SummaryPart

#: Kinds of frames that have a target.
SUMMARIES: Final = (FrameKind.SUMMARY, FrameKind.SERIES_SUMMARIES)
#: The largest payload that is looked into on the event loop.
_MAX_PARSED_BYTES: Final = 1 << 20


@dataclass(eq=False, slots=True)
class Target:
    """What a record is for: the place with index ``index``, and the tags of its series there.

    None stands for a tag that is left out, of which ``left_out`` tells. ``is_several``: the
    record is of several series, though they may be but one.
    """

    index: int
    place: Place
    tags: Sequence[int | None]
    is_several: bool = False
    left_out: Refusal | None = None

    @property
    def tag(self) -> int:
        """The first of those that are not left out."""
        return next(tag for tag in self.tags if tag is not None)


def target_of(frame: Frame, schema: Schema) -> Target:
    """Returns what a record of a kind in ``SUMMARIES`` is for. Raises ``RefusedError``."""
    if frame.kind == FrameKind.SERIES_SUMMARIES:
        return _several(frame, schema)
    index, tag, reason = schema.find_one(frame.target)
    if reason:
        raise RefusedError(reason, schema.why(frame.target))
    return Target(index, schema.places[index], (tag,))


def summary_part(
    frame: Frame,
    target: Target,
    session_id: bytes,
    run: RunState,
    tag: int,
    sequences: SequenceRange,
    chunks: TensorChunks,
) -> SummaryPart:
    """Returns the part of ``run``, in which ``tag`` is the first, that reduces a record."""
    kind = SeriesPart if target.is_several else SummaryPart
    part = kind(
        session_id,
        run,
        sequences,
        sequence=frame.sequence,
        records=1,
        # Tensors in maps are the client's memory.
        size_bytes=PART_BYTES + len(frame.payload) + chunks.held_bytes,
        tag=tag,
        step=frame.step,
        wall_time=frame.wall_time,
        payload=frame.payload,
        tensors=chunks.tensors,
        numbers=(target.place.number,),
    )
    if isinstance(part, SeriesPart):
        part.tags, part.left_out = target.tags, target.left_out
    return part


def slot_bytes(payload: bytes, maps: Mapping[int, memoryview] | None) -> int:
    """What the tensors of a record take in its client's ``maps``, in bytes.

    0 if its payload is large itself, or none.
    """
    if maps is None or len(payload) > _MAX_PARSED_BYTES:  # to parse takes the event loop's time
        return 0
    try:
        return sum(slot.size_bytes for slot in pb.Payload.FromString(payload).slots)
    except DecodeError:  # which the reduction refuses
        return 0


def _several(frame: Frame, schema: Schema) -> Target:
    series = _series(frame)
    places, tags, reasons = schema.find(series)
    is_known = reasons == 0
    if not is_known.any():
        raise RefusedError(int(reasons[0]), schema.why(int(series[0])))
    index = int(places[is_known.argmax()])
    if not (places == index)[is_known].all():
        raise RefusedError(pb.INVALID_RECORD, f"{len(series)} series of several directories")
    place = schema.places[index]
    if place.own is not None or (place.run is not None and place.run.is_merged):
        raise RefusedError(
            pb.UNSUPPORTED,
            "one record of several series; in a run that several ranks log to, each takes a "
            "record of its own",
        )
    left_out = None
    if not is_known.all():
        refused = np.flatnonzero(~is_known)
        first = int(refused[0])
        left_out = left_out_of(
            len(refused), len(series), Refusal(int(reasons[first]), schema.why(int(series[first])))
        )
    shown = [
        tag if found else None for tag, found in zip(tags.tolist(), is_known.tolist(), strict=True)
    ]
    return Target(index, place, shown, True, left_out)


def _series(frame: Frame) -> NDArray[np.uint32]:
    try:
        message = pb.Payload.FromString(frame.payload)
    except DecodeError as error:
        raise RefusedError(pb.INVALID_RECORD, f"payload: {error}") from None
    if message.WhichOneof("summary") != "histograms":
        raise RefusedError(
            pb.UNSUPPORTED, "this daemon does not know this kind of summaries of several series"
        )
    series = message.histograms.series
    if not 1 <= len(series) <= MAX_HISTOGRAMS or len(series) != len(message.histograms.sizes):
        raise RefusedError(
            pb.INVALID_RECORD,
            f"{len(series)} series and {len(message.histograms.sizes)} sizes; give one of each "
            f"for 1 to {MAX_HISTOGRAMS} histograms",
        )
    if series[0] != frame.target:
        raise RefusedError(
            pb.INVALID_RECORD, f"the first series is {series[0]}, the target {frame.target}"
        )
    return np.fromiter(series, np.uint32, len(series))


def left_out_of(refused: int, series: int, first: Refusal) -> Refusal:
    """What is told of a record without ``refused`` of its ``series``, ``first`` being the first."""
    return Refusal(
        first.reason,
        f"{refused} of the {series} histograms of a record are left out: {first.message}",
    )
