"""What the summary values of any writer mean to a merge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from boardd.events import event_pb2 as proto
from boardd.events.event_pb2 import Event, SessionLog, Summary, TensorProto
from boardd.events.exact import partial_of, scalar_of
from boardd.merge.histograms import Buckets

#: Kinds of tags, by the names that TensorBoard's plugins have.
SCALARS: Final = "scalars"
HISTOGRAMS: Final = "histograms"
IMAGES: Final = "images"
PR_CURVES: Final = "pr_curves"
GRAPHS: Final = "graphs"
_AUDIO: Final = "audio"
#: Of tensors that name no plugin.
_TENSOR: Final = "tensor"
#: Of one tensor; TensorBoard shows none of more.
_MAX_VALUES: Final = 1 << 28

_BY_FIELD: Final = {
    "simple_value": SCALARS,
    "histo": HISTOGRAMS,
    "image": IMAGES,
    "audio": _AUDIO,
}

#: TensorFlow's types as NumPy's, and the fields that hold them if the content does not.
_DTYPES: Final[dict[int, tuple[str, str]]] = {
    proto.DT_FLOAT: ("<f4", "float_val"),
    proto.DT_DOUBLE: ("<f8", "double_val"),
    proto.DT_HALF: ("<f2", "half_val"),
    proto.DT_BFLOAT16: ("<u2", "half_val"),
    proto.DT_INT8: ("<i1", "int_val"),
    proto.DT_INT16: ("<i2", "int_val"),
    proto.DT_INT32: ("<i4", "int_val"),
    proto.DT_INT64: ("<i8", "int64_val"),
    proto.DT_UINT8: ("<u1", "int_val"),
    proto.DT_UINT16: ("<u2", "int_val"),
    proto.DT_UINT32: ("<u4", "uint32_val"),
    proto.DT_UINT64: ("<u8", "uint64_val"),
    proto.DT_BOOL: ("?", "bool_val"),
}


@dataclass(frozen=True, eq=False)
class Content:
    """One value that is not a scalar: ``value``, or a graph, or the ``partial`` it shows.

    ``value`` has the metadata that its tag was first given.
    """

    value: Summary.Value | None = None
    graph_def: bytes = b""
    partial: bytes = b""

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        shown = self.value.ByteSize() if self.value is not None else 0
        return 100 + len(self.graph_def) + len(self.partial) + shown


class Found(NamedTuple):
    """One value of an event: ``scalar`` if its kind is ``SCALARS``, else ``content``."""

    tag: bytes
    kind: str
    scalar: float
    content: Content | None


class Read(NamedTuple):
    """What one event holds."""

    wall_time: float
    step: int
    values: list[Found]
    is_start: bool = False  #: of a session: what came before at this step and later is stale
    writer: str = ""  #: of the file, in its first event


def read(data: bytes, metadata: dict[bytes, proto.SummaryMetadata]) -> Read | None:
    """Returns what a serialized event holds; None if it cannot be read.

    ``metadata`` remembers the first of each tag, since some writers give it only once.
    """
    try:
        event = Event.FromString(data)
    except DecodeError:
        return None
    what = event.WhichOneof("what")
    values: list[Found] = []
    if what == "graph_def":
        values.append(Found(b"", GRAPHS, 0.0, Content(graph_def=event.graph_def)))
    elif what == "summary":
        exact = partial_of(data)
        for value in event.summary.value:
            found = _found(value, metadata)
            if found is None:
                continue
            if exact is not None:
                values.append(
                    Found(exact.tag, found.kind, 0.0, Content(value, partial=exact.partial))
                )
                break  # it says all that the event shows
            values.append(found)
        precise = scalar_of(data)
        if precise is not None and len(values) == 1 and values[0].kind == SCALARS:
            values[0] = values[0]._replace(scalar=precise)
    is_start = what == "session_log" and event.session_log.status == SessionLog.START
    return Read(event.wall_time, event.step, values, is_start, event.source_metadata.writer)


def _found(value: Summary.Value, metadata: dict[bytes, proto.SummaryMetadata]) -> Found | None:
    """None if nothing is shown of it."""
    field = value.WhichOneof("value")
    if field is None:
        # Hyperparameters of some writers lie in the metadata alone.
        plugin = value.metadata.plugin_data.plugin_name
        if not plugin or plugin == SCALARS:
            return None
        return Found(value.tag.encode(), plugin, 0.0, Content(value))
    # A tag that TensorFlow 1 gave the name of its node instead.
    tag = (value.tag or value.node_name).encode()
    if value.HasField("metadata"):
        metadata.setdefault(tag, value.metadata)
    first = metadata.get(tag)
    plugin = first.plugin_data.plugin_name if first is not None else ""
    if field == "simple_value":
        return Found(tag, SCALARS, value.simple_value, None)
    kind = _BY_FIELD.get(field) or plugin or _TENSOR
    if kind == SCALARS:
        array = array_of(value.tensor)
        if array is None or array.size != 1:
            return None
        return Found(tag, SCALARS, float(array.reshape(-1)[0]), None)
    if first is not None and not value.HasField("metadata"):
        value.metadata.CopyFrom(first)
    return Found(tag, kind, 0.0, Content(value))


def array_of(tensor: TensorProto) -> NDArray[Any] | None:
    """Returns a tensor of numbers; None for strings, other types and wrong lengths."""
    known = _DTYPES.get(tensor.dtype)
    if known is None:
        return None
    dtype, field = np.dtype(known[0]), known[1]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    count = math.prod(shape)
    if count > _MAX_VALUES or any(size < 0 for size in shape):
        return None
    if tensor.tensor_content:
        if len(tensor.tensor_content) % dtype.itemsize:
            return None
        array = np.frombuffer(tensor.tensor_content, dtype)
    elif field == "half_val":  # its bits
        array = np.array(getattr(tensor, field), np.uint16).view(dtype)
    else:
        array = np.array(getattr(tensor, field), dtype)
    if tensor.dtype == proto.DT_BFLOAT16:  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if 0 < array.size < count:  # the last one stands for the rest
        array = np.concatenate((array, np.repeat(array[-1:], count - array.size)))
    return array.reshape(shape) if array.size == count else None


def buckets_of(value: Summary.Value) -> Buckets | None:
    """Returns a histogram of either form; None if it is none."""
    if value.WhichOneof("value") == "histo":
        histo = value.histo
        return Buckets.of_limits(
            np.array(histo.bucket_limit, np.float64),
            np.array(histo.bucket, np.float64),
            min=histo.min,
            max=histo.max,
            num=histo.num,
            sum=histo.sum,
            sum_squares=histo.sum_squares,
        )
    array = array_of(value.tensor)
    if array is None or array.ndim != 2 or array.shape[1] != 3:
        return None
    return Buckets.of_rows(array.astype(np.float64))
