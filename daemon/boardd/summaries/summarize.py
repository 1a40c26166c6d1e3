"""One record's payload and tensors, reduced to what TensorBoard reads.

``_SUMMARIES`` is the one table from a kind of payload to its function. It runs
on worker threads; the reductions release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from boardd_protos.summary_kind import SummaryKind
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from boardd.events import custom_scalars, event, hparams, mesh, plugins, tensors
from boardd.events.event_pb2 import Summary
from boardd.events.wire import EncodedValue
from boardd.reduce import dtypes
from boardd.summaries.distributions import (
    summarize_histogram,
    summarize_histogram_raw,
    summarize_pr_curve,
    summarize_pr_curve_raw,
)
from boardd.summaries.embedding import summarize_embedding
from boardd.summaries.images import summarize_image, summarize_video
from boardd.summaries.plugins import (
    summarize_audio,
    summarize_custom_scalars,
    summarize_graph,
    summarize_hparams,
    summarize_mesh,
    summarize_tensor,
    summarize_text,
)
from boardd.summaries.reduction import EncodedSummary, ReductionInput, ReductionOutput, SummaryError

#: From a kind of payload to the fewest and the most tensors it has, and its function.
_SUMMARIES: Final[dict[str, tuple[int, int, Callable[[ReductionInput], ReductionOutput]]]] = {
    "audio": (1, 1, summarize_audio),
    "custom_scalars": (0, 0, summarize_custom_scalars),
    "embedding": (1, 3, summarize_embedding),
    "graph": (0, 0, summarize_graph),
    "histogram": (1, 1, summarize_histogram),
    "histogram_raw": (2, 2, summarize_histogram_raw),
    "hparams": (0, 0, summarize_hparams),
    "image": (1, 2, summarize_image),
    "mesh": (1, 3, summarize_mesh),
    "pr_curve": (2, 3, summarize_pr_curve),
    "pr_curve_raw": (6, 6, summarize_pr_curve_raw),
    "tensor": (1, 1, summarize_tensor),
    "text": (0, 0, summarize_text),
    "video": (1, 1, summarize_video),
}

#: What a value is: by its field, and if that is "tensor", by the plugin that it names.
_KIND_OF_FIELD: Final = {"simple_value": SummaryKind.SCALAR, "image": SummaryKind.IMAGE}
_KIND_OF_PLUGIN: Final = {
    custom_scalars.PLUGIN: SummaryKind.CUSTOM_SCALAR,
    hparams.PLUGIN: SummaryKind.HPARAM,
    mesh.PLUGIN: SummaryKind.MESH,
    plugins.AUDIO_PLUGIN: SummaryKind.AUDIO,
    plugins.PR_CURVES_PLUGIN: SummaryKind.PR_CURVE,
    plugins.TEXT_PLUGIN: SummaryKind.TEXT,
    tensors.TENSOR_PLUGIN: SummaryKind.TENSOR,
}


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
    try:
        message = pb.Payload.FromString(payload)
        kind = message.WhichOneof("summary")
        summary = _SUMMARIES.get(kind or "")
        if summary is None:
            raise SummaryError(
                pb.UNSUPPORTED, f"tag {tag!r}: this daemon does not know this kind of summary"
            )
        fewest, most, reduce = summary
        count = len(message.tensors)
        if not fewest <= count <= most:
            expected = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise InvalidTensorError(f"{count} tensors; a {kind} has {expected}")
        if maps is not None and message.slots:
            arrays = _shared_arrays(tag, message, maps, max_working_bytes)
        else:
            arrays = [
                _array(tensor, chunks.get(number, ()))
                for number, tensor in enumerate(message.tensors)
            ]
        source = ReductionInput(tag, step, wall_time, message, arrays, max_working_bytes)
        return _reduction(source, reduce(source))
    except SummaryError:
        raise
    except DecodeError as error:
        raise SummaryError(pb.INVALID_RECORD, f"tag {tag!r}: payload: {error}") from error
    except InvalidRecordError as error:
        raise SummaryError(pb.INVALID_RECORD, f"tag {tag!r}: {error}") from error
    except InvalidTensorError as error:
        raise SummaryError(pb.INVALID_TENSOR, f"tag {tag!r}: {error}") from error
    except Exception as error:
        # Whatever a reduction meets, only this record may suffer.
        text = f"tag {tag!r}: {type(error).__name__}: {error}"
        raise SummaryError(pb.REDUCTION_FAILED, text) from error


def _reduction(source: ReductionInput, content: ReductionOutput) -> EncodedSummary:
    if content.graph_def:
        encoded = event.graph(source.wall_time, source.step, content.graph_def)
    else:
        # Also without values: a run that has no event is none to TensorBoard.
        encoded = event.summary(source.wall_time, source.step, content.values)
    kinds = dict(map(_kind, content.values))
    return EncodedSummary(encoded, kinds, content.embedding)


def _kind(value: Summary.Value | EncodedValue) -> tuple[bytes, SummaryKind]:
    """A value's tag, and what TensorBoard reads it as."""
    if isinstance(value, EncodedValue):
        return value.tag, value.kind
    field = value.WhichOneof("value")
    if field == "tensor":
        return value.tag.encode(), _KIND_OF_PLUGIN[value.metadata.plugin_data.plugin_name]
    return value.tag.encode(), _KIND_OF_FIELD[field]


def _shared_arrays(
    tag: str, payload: pb.Payload, maps: Mapping[int, memoryview], max_bytes: int
) -> list[NDArray[Any]]:
    """The tensors where they lie. The slot of an empty tensor is empty."""
    if len(payload.slots) != len(payload.tensors):
        raise InvalidTensorError(f"{len(payload.slots)} slots for {len(payload.tensors)} tensors")
    size_bytes = 0
    for slot in payload.slots:
        size_bytes += slot.size_bytes
    if size_bytes > max_bytes:
        raise SummaryError(
            pb.TENSOR_TOO_LARGE,
            f"tensors of {size_bytes} bytes; at most {max_bytes} are taken, see --max-tensor-bytes",
        )
    arrays = []
    for tensor, slot in zip(payload.tensors, payload.slots, strict=True):
        slot_bytes = slot.size_bytes
        if not slot_bytes:
            arrays.append(_array(tensor, ()))
            continue
        view = maps.get(slot.map)
        if view is None and not maps:
            raise SummaryError(
                pb.TENSOR_LOST,
                f"tag {tag!r}: the process ended, and with it the memory that held the tensors",
            )
        if view is None:
            raise InvalidTensorError(f"the tensor lies in map {slot.map}, which is not shared")
        start = slot.offset
        end = start + slot_bytes
        if end > view.nbytes:
            raise InvalidTensorError(
                f"the tensor ends at byte {end} of map {slot.map}, which has {view.nbytes}"
            )
        arrays.append(dtypes.as_array(view[start:end], tensor.dtype, tensor.shape))
    return arrays


def _array(tensor: pb.Tensor, chunks: Sequence[bytes]) -> NDArray[Any]:
    size_bytes = sum(map(len, chunks))
    if chunks and dtypes.size_bytes(tensor.dtype, tensor.shape) != size_bytes:
        raise InvalidTensorError(
            f"{size_bytes} bytes in chunks for a tensor of {tensor.dtype} and shape "
            f"{tuple(tensor.shape)}"
        )
    return dtypes.as_array(_joined(chunks, size_bytes), tensor.dtype, tensor.shape)


def _joined(chunks: Sequence[bytes], size_bytes: int) -> bytes | memoryview:
    if len(chunks) <= 1:
        return chunks[0] if chunks else b""
    joined = np.empty(size_bytes, np.uint8)
    offset = 0
    for chunk in chunks:
        # NumPy's copy releases the GIL, b"".join does not.
        joined[offset : offset + len(chunk)] = np.frombuffer(chunk, np.uint8)
        offset += len(chunk)
    return joined.data
