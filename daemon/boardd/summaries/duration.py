"""How long a reduction takes, estimated from what a record says of its tensors.

The figures are of one core of a server of 2020, rounded up; only their order of magnitude
counts. An estimate costs some microseconds, whatever the tensors hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import MAX_DIMENSIONS

from boardd.reduce.pca import EXACT_SIDE

#: Seconds for an element of a tensor that is counted, copied or drawn.
_ELEMENT_SECS: Final = 10e-9
#: For a pixel of a frame in colour, whose palette is to be found, and for a frame.
_COLOUR_PIXEL_SECS: Final = 500e-9
_FRAME_SECS: Final = 100e-6
#: For a product of two elements of a matrix, and an element of one that is approximated.
_PRODUCT_SECS: Final = 0.25e-9
_APPROXIMATED_SECS: Final = 250e-9
#: What no reduction exceeds: sizes that no tensor has are refused at once.
_MAX_ELEMENTS: Final = 1 << 48


def secs_of(message: pb.Payload) -> float:
    """Returns the CPU time in seconds that a payload may take to be reduced.

    0 for one that is refused at once.
    """
    elements = 0
    for tensor in message.tensors:
        elements += _elements(tensor)
    kind = _KINDS.get(message.WhichOneof("summary") or "")
    if kind is None or not elements:
        return elements * _ELEMENT_SECS
    return elements * _ELEMENT_SECS + kind(message)


def _elements(tensor: pb.Tensor) -> int:
    shape = tensor.shape
    if len(shape) > MAX_DIMENSIONS:
        return 0
    elements = 1
    for length in shape:
        elements *= length
    return elements if elements <= _MAX_ELEMENTS else 0


def _projection_secs(message: pb.Payload) -> float:
    shape, dimensions = message.tensors[0].shape, message.embedding.project_to
    if len(shape) != 2 or not 0 < dimensions < shape[1]:
        return 0.0
    rows, columns = shape
    side = min(rows, columns)
    if side > EXACT_SIDE:
        return float(rows * columns * _APPROXIMATED_SECS)
    return float((rows * columns + side * side) * side * _PRODUCT_SECS)


def _video_secs(message: pb.Payload) -> float:
    tensor = message.tensors[0]
    lengths = dict(zip(message.video.dataformats or "NTCHW", tensor.shape, strict=False))
    is_grey = lengths.get("C") == 1
    pixel_secs = _ELEMENT_SECS if is_grey else _COLOUR_PIXEL_SECS / 3
    return float(_elements(tensor) * pixel_secs + lengths.get("T", 0) * _FRAME_SECS)


def _image_secs(message: pb.Payload) -> float:
    """Every image of a grid has ``padding`` pixels round it."""
    shape, padding = message.tensors[0].shape, message.image.padding
    if len(shape) < 3 or not padding:
        return 0.0
    height, width = sorted(shape)[-2:]
    images = _elements(message.tensors[0]) // max(1, height * width)
    return float(images * (height + padding) * (width + padding) * _ELEMENT_SECS)


#: What a kind takes beside reading its tensors.
_KINDS: Final[Mapping[str, Callable[[pb.Payload], float]]] = {
    "embedding": _projection_secs,
    "image": _image_secs,
    "video": _video_secs,
}
