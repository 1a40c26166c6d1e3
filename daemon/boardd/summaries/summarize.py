"""One record's payload and tensors, reduced to what TensorBoard reads.

``summarize`` does that for a run with one writer. If several ranks make a point together,
``reduce_shared`` makes what each of them contributes, and ``present`` what TensorBoard reads
of all. They run on worker threads; the reductions release the GIL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from google.protobuf.message import DecodeError

from boardd.events import event
from boardd.events.kinds import kind_of
from boardd.events.wire import EncodedValue
from boardd.partials import wholeness
from boardd.partials.partial import Partial
from boardd.summaries.environment_faults import is_environment_fault
from boardd.summaries.health import health_part
from boardd.summaries.kinds import KINDS, PRESENTERS, Kind
from boardd.summaries.payload_arrays import arrays_of
from boardd.summaries.reduction import (
    EncodedSummary,
    ReductionInput,
    ReductionOutput,
    SummaryError,
    with_note,
)


def summarize(
    tag: str,
    step: int,
    wall_time: float,
    payload: bytes,
    chunks: Mapping[int, Sequence[bytes]],
    max_working_bytes: int,
    maps: Mapping[int, memoryview] | None = None,
) -> EncodedSummary:
    """Returns what one record is made into.

    ``payload`` is a serialized ``Payload``. ``chunks`` holds the bytes of its tensors,
    each as consecutive chunks. With ``maps`` they lie there instead, in the payload's
    slots. A reduction that needs memory beside its input and its result takes about
    ``max_working_bytes`` at most.

    Raises ``SummaryError``: UNSUPPORTED for a kind this daemon does not know,
    INVALID_TENSOR when dtype, shape, bytes and kind do not agree,
    TENSOR_LOST for tensors in maps when there are none any more,
    TENSOR_TOO_LARGE for more than ``max_working_bytes`` in maps,
    INVALID_RECORD for a payload that is none and for options that cannot be,
    REDUCTION_FAILED for everything else.
    """
    with Refusing(tag):
        kind, source = _read(tag, step, wall_time, payload, chunks, max_working_bytes, maps)
        encoded = _encoded(step, wall_time, output := kind.summarize(source))
        if source.payload.HasField("health") and encoded.embedding is None:
            health = health_part(source.payload.health, source.arrays)
            return replace(encoded, health=health, values=output.values)
        return encoded


def health_of(
    tag: str,
    step: int,
    wall_time: float,
    payload: bytes,
    chunks: Mapping[int, Sequence[bytes]],
    max_working_bytes: int,
    maps: Mapping[int, memoryview] | None = None,
) -> EncodedSummary:
    """Returns the health of one record's tensors, and nothing else of it.

    Arguments and errors are those of ``summarize``.
    """
    with Refusing(tag):
        _, source = _read(tag, step, wall_time, payload, chunks, max_working_bytes, maps)
        return EncodedSummary(b"", {}, health=health_part(source.payload.health, source.arrays))


def reduce_shared(
    tag: str,
    step: int,
    wall_time: float,
    payload: bytes,
    chunks: Mapping[int, Sequence[bytes]],
    max_working_bytes: int,
    maps: Mapping[int, memoryview] | None = None,
    *,
    rank: int,
) -> Partial:
    """Returns what one record of ``rank`` contributes to the point that all ranks make.

    The other arguments and the errors are those of ``summarize``.
    """
    with Refusing(tag):
        kind, source = _read(tag, step, wall_time, payload, chunks, max_working_bytes, maps)
        partial = Partial.of(rank, kind.share(source, rank))
        wholeness.check(partial)  # a client may have written to its map meanwhile
        return partial


def present(
    tag: str, step: int, wall_time: float, partial: Partial, *, keeps_values: bool = False
) -> EncodedSummary:
    """Returns the point that ``partial`` makes of ``tag``, with its ``values`` if asked for.

    If contributions are left out, since their form is another one, a text ``<tag>/ranks``
    beside it says so. Raises ``SummaryError`` as ``summarize`` does for one record.
    """
    with Refusing(tag):
        shown = partial.shown
        presenter = PRESENTERS.get(type(shown.value))
        if presenter is None:  # what another daemon contributed
            raise InvalidRecordError(f"{type(shown.value).__name__} are no summary")
        output = presenter(tag, step, shown.value)
        left_out = partial.count - shown.count
        if left_out:
            text = (
                f"{shown.count:,} of {partial.count:,} contributions are shown, those of the form "
                f"that rank {shown.rank} has logged. {left_out:,} are of another form, such as "
                "other edges, another number of buckets or thresholds, or another size."
            )
            output = with_note(output, tag, text)
        encoded = _encoded(step, wall_time, output)
        return replace(encoded, values=output.values) if keeps_values else encoded


class Refusing:
    """Turns what a reduction of ``tag`` raises meanwhile into ``SummaryError``."""

    __slots__ = ("_tag",)

    def __init__(self, tag: str) -> None:
        self._tag = tag

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._is_refused(error):
            # Not by a name of this frame: its traceback has the frame, and the tensors', too.
            raise self._refusal(error) from error

    def _is_refused(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or isinstance(error, SummaryError):
            return False
        is_invalid = isinstance(error, (DecodeError, InvalidRecordError, InvalidTensorError))
        return is_invalid or not is_environment_fault(error)

    def _refusal(self, error: BaseException) -> SummaryError:
        where = f"tag {self._tag!r}"
        if isinstance(error, DecodeError):
            return SummaryError(pb.INVALID_RECORD, f"{where}: payload: {error}")
        if isinstance(error, InvalidRecordError):
            return SummaryError(pb.INVALID_RECORD, f"{where}: {error}")
        if isinstance(error, InvalidTensorError):
            return SummaryError(pb.INVALID_TENSOR, f"{where}: {error}")
        # Whatever a reduction meets, only this record may suffer.
        return SummaryError(pb.REDUCTION_FAILED, f"{where}: {type(error).__name__}: {error}")


def _read(
    tag: str,
    step: int,
    wall_time: float,
    payload: bytes,
    chunks: Mapping[int, Sequence[bytes]],
    max_working_bytes: int,
    maps: Mapping[int, memoryview] | None,
) -> tuple[Kind, ReductionInput]:
    message = pb.Payload.FromString(payload)
    name = message.WhichOneof("summary") or ""
    kind = KINDS.get(name)
    if kind is None:
        raise SummaryError(
            pb.UNSUPPORTED, f"tag {tag!r}: this daemon does not know this kind of summary"
        )
    count = len(message.tensors)
    if not kind.fewest <= count <= kind.most:
        expected = str(kind.fewest) if kind.fewest == kind.most else f"{kind.fewest} to {kind.most}"
        raise InvalidTensorError(f"{count} tensors; a {name} has {expected}")
    arrays = arrays_of(tag, message, chunks, max_working_bytes, maps)
    return kind, ReductionInput(tag, step, wall_time, message, arrays, max_working_bytes)


def _encoded(step: int, wall_time: float, content: ReductionOutput) -> EncodedSummary:
    if content.graph_def:
        encoded = event.graph(wall_time, step, content.graph_def)
    else:
        # Also without values: a run that has no event is none to TensorBoard.
        encoded = event.summary(wall_time, step, content.values)
    kinds = {}
    for value in content.values:
        # TensorBoard's plugins that boardd does not know have no part in conflicts of kinds.
        if isinstance(value, EncodedValue):
            kinds[value.tag] = value.kind
        elif value.WhichOneof("value") is None:  # what another daemon contributed
            raise InvalidRecordError("a summary value that holds nothing")
        elif (kind := kind_of(value)) is not None:
            kinds[value.tag.encode()] = kind
    return EncodedSummary(encoded, kinds, content.embedding)
