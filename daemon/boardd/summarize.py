"""One record's payload and tensors, reduced to the event that TensorBoard reads.

``_SUMMARIES`` is the one table from a kind of payload to its reduction. It runs
on worker threads; the reductions release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from boardd.events import event, values
from boardd.events.event_pb2 import Summary
from boardd.reduce import dtypes
from boardd.reduce.bins import Bins, BinsError, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.dtypes import TensorError
from boardd.reduce.grid import ImageError, image_grid
from boardd.reduce.histogram import histogram
from boardd.reduce.png import encode_png

#: Images in a row of a grid where a payload does not say.
DEFAULT_NROW: Final = 8

_Values = list[Summary.Value]
_Arrays = Sequence[NDArray[Any]]


class SummaryError(Exception):
    """A record that cannot be made into an event. ``reason`` is a ``Reason``."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def summarize(
    tag: str,
    step: int,
    wall_time: float,
    payload: bytes,
    pieces: Mapping[int, Sequence[bytes]],
) -> bytes:
    """Returns the framed event of one record.

    ``payload`` is a serialized ``Payload``; ``pieces`` holds the bytes of those
    of its tensors that are not inline, each as consecutive pieces.

    Raises ``SummaryError``: UNSUPPORTED for a kind this daemon does not know,
    INVALID_TENSOR where dtype, shape, bytes and kind do not agree,
    INVALID_RECORD for a payload that is none and for bins that cannot be,
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
        count, reduce = summary
        if len(message.tensors) != count:
            raise TensorError(f"{len(message.tensors)} tensors; a {kind} has {count}")
        arrays = [
            _array(tensor, pieces.get(number, ())) for number, tensor in enumerate(message.tensors)
        ]
        return event.summary(wall_time, step, reduce(tag, message, arrays))
    except SummaryError:
        raise
    except DecodeError as error:
        raise SummaryError(pb.INVALID_RECORD, f"tag {tag!r}: payload: {error}") from error
    except BinsError as error:
        raise SummaryError(pb.INVALID_RECORD, f"tag {tag!r}: {error}") from error
    except (TensorError, ImageError) as error:
        raise SummaryError(pb.INVALID_TENSOR, f"tag {tag!r}: {error}") from error
    except Exception as error:
        # Whatever a reduction meets, only this record may suffer.
        text = f"tag {tag!r}: {type(error).__name__}: {error}"
        raise SummaryError(pb.REDUCTION_FAILED, text) from error


def _array(tensor: pb.Tensor, pieces: Sequence[bytes]) -> NDArray[Any]:
    if tensor.inline and pieces:
        raise TensorError("the tensor is inline and in chunks too")
    size_bytes = sum(map(len, pieces))
    if pieces and dtypes.size_bytes(tensor.dtype, tensor.shape) != size_bytes:
        raise TensorError(
            f"{size_bytes} bytes in chunks for a tensor of {tensor.dtype} and shape "
            f"{tuple(tensor.shape)}"
        )
    return dtypes.as_array(_joined(pieces, size_bytes) or tensor.inline, tensor.dtype, tensor.shape)


def _joined(pieces: Sequence[bytes], size_bytes: int) -> bytes | memoryview:
    if len(pieces) <= 1:
        return pieces[0] if pieces else b""
    joined = np.empty(size_bytes, np.uint8)
    offset = 0
    for piece in pieces:
        # NumPy's copy releases the GIL, b"".join does not.
        joined[offset : offset + len(piece)] = np.frombuffer(piece, np.uint8)
        offset += len(piece)
    return joined.data


def _histogram(tag: str, payload: pb.Payload, arrays: _Arrays) -> _Values:
    result = histogram(arrays[0], bins_of(payload.histogram))
    found = [values.histogram_value(tag, result)]
    # A histogram has no room for what is not finite: shown beside it, where there is any.
    for name, count in (
        ("nan", result.nan_count),
        ("positive_infinity", result.positive_infinity_count),
        ("negative_infinity", result.negative_infinity_count),
    ):
        if count:
            found.append(values.scalar_value(f"{tag}/{name}", count))
    return found


def bins_of(message: pb.Histogram) -> Bins:
    """Returns the bins that a payload asks for. Raises ``BinsError`` where there can be none."""
    kind = message.WhichOneof("bins")
    if kind == "count":
        return EqualWidth(message.count)
    if kind == "edges":
        return Edges(np.array(message.edges.edges, np.float64))
    if kind == "rule" and message.rule != "default":
        return Rule(message.rule)
    return default_edges()


def _image(tag: str, payload: pb.Payload, arrays: _Arrays) -> _Values:
    options = payload.image
    pixels = image_grid(
        arrays[0],
        dataformats=options.dataformats,
        nrow=options.nrow or DEFAULT_NROW,
        padding=options.padding,
    )
    height, width, channels = pixels.shape
    return [values.image_value(tag, encode_png(pixels), height, width, channels)]


def _lazy_scalar(tag: str, payload: pb.Payload, arrays: _Arrays) -> _Values:
    if arrays[0].size != 1:
        raise TensorError(f"shape {arrays[0].shape} for a scalar; one element is expected")
    return [values.scalar_value(tag, float(arrays[0].reshape(-1)[0]))]


_Reduce = Callable[[str, pb.Payload, _Arrays], _Values]

#: From a kind of payload to how many tensors it has, and its reduction.
_SUMMARIES: Final[dict[str, tuple[int, _Reduce]]] = {
    "histogram": (1, _histogram),
    "image": (1, _image),
    "lazy_scalar": (1, _lazy_scalar),
}
