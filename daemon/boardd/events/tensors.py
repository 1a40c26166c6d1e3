"""Tensors as summary values: the form of every TensorBoard plugin newer than tensors.

A value holds a TensorProto and the name of the plugin that shows it. What class
of data it is stands in it too: else TensorBoard decides by the plugin's name,
and drops the tensors of plugins that it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.events import event_pb2
from boardd.events.event_pb2 import (
    DATA_CLASS_SCALAR,
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
    TensorProto,
    TensorShapeProto,
)

#: The plugin that plain tensors name, as torch's and tensorboardX's writers do.
#: No dashboard shows it; scripts that read event files find them.
TENSOR_PLUGIN: Final = "tensor"
#: The plugin of scalars.
SCALARS_PLUGIN: Final = "scalars"

#: From NumPy's kind and item size to TensorFlow's type.
_TYPES: Final[dict[tuple[str, int], event_pb2.DataType]] = {
    ("b", 1): event_pb2.DT_BOOL,
    ("i", 1): event_pb2.DT_INT8,
    ("i", 2): event_pb2.DT_INT16,
    ("i", 4): event_pb2.DT_INT32,
    ("i", 8): event_pb2.DT_INT64,
    ("u", 1): event_pb2.DT_UINT8,
    ("u", 2): event_pb2.DT_UINT16,
    ("u", 4): event_pb2.DT_UINT32,
    ("u", 8): event_pb2.DT_UINT64,
    ("f", 2): event_pb2.DT_HALF,
    ("f", 4): event_pb2.DT_FLOAT,
    ("f", 8): event_pb2.DT_DOUBLE,
}


def tensor_proto(array: npt.NDArray[Any]) -> TensorProto:
    """Returns ``array``, of any shape, as the little-endian bytes of a TensorProto.

    Raises ``InvalidTensorError`` unless it is of bool, integers or floats to 64 bits.
    """
    dtype = _TYPES.get((array.dtype.kind, array.dtype.itemsize))
    if dtype is None:
        raise InvalidTensorError(
            f"a tensor of {array.dtype}; event files take bool, integers and floats to 64 bits"
        )
    little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return TensorProto(
        dtype=dtype, tensor_shape=shape_proto(array.shape), tensor_content=little_endian.tobytes()
    )


def bytes_proto(data: bytes) -> TensorProto:
    """Returns a scalar string tensor that holds ``data``."""
    return TensorProto(
        dtype=event_pb2.DT_STRING, tensor_shape=TensorShapeProto(), string_val=[data]
    )


def plugin_value(tag: str, tensor: TensorProto, plugin: str, content: bytes = b"") -> Summary.Value:
    """Returns ``tensor`` as what the TensorBoard plugin ``plugin`` shows under ``tag``.

    ``content`` is the serialized message that the plugin defines for itself.
    """
    return Summary.Value(
        tag=tag,
        tensor=tensor,
        metadata=SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content),
            data_class=DATA_CLASS_TENSOR,
        ),
    )


def scalar_tensor_value(
    tag: str,
    array: npt.NDArray[Any],
    *,
    display_name: str = "",
    description: str = "",
    double_precision: bool = False,
) -> Summary.Value:
    """Returns ``array``, of one element, as a scalar, in the form of TensorFlow 2.

    TensorBoard shows ``display_name`` instead of the tag if there is one, and ``description``,
    in Markdown, on demand. ``double_precision``: float64, of which its data server shows nothing
    (version 0.7.2); else float32.

    Raises ``InvalidTensorError`` for other than one element.
    """
    if array.size != 1:
        raise InvalidTensorError(f"a scalar of shape {array.shape}; give one element")
    number = array.astype(np.float64) if double_precision else as_float32(array)
    return Summary.Value(
        tag=tag,
        tensor=tensor_proto(number.reshape(())),
        metadata=SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=SCALARS_PLUGIN),
            display_name=display_name,
            summary_description=description,
            data_class=DATA_CLASS_SCALAR,
        ),
    )


def tensor_value(tag: str, array: npt.NDArray[Any]) -> Summary.Value:
    """Returns ``array``, of any shape, as it is. Raises as ``tensor_proto``."""
    return plugin_value(tag, tensor_proto(array), TENSOR_PLUGIN)


def shape_proto(shape: Sequence[int]) -> TensorShapeProto:
    """Returns the message of a shape."""
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])


def as_float32(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns ``array`` rounded to float32; infinite, not an error, past its range."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
