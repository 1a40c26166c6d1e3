"""How much memory a reduction takes, estimated from what a record says of its tensors.

What is counted is the most that is held at a time beside the tensors where they lie, the
result included; ``tests/unit/daemon/summaries/test_working_memory.py`` compares it with what
reductions take. An estimate costs some microseconds, whatever the tensors hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos.dtypes import ITEM_BYTES
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import (
    DEFAULT_BINS,
    DEFAULT_NROW,
    MAX_EMBEDDING_ROWS,
    MAX_LABELS,
    MAX_PIXELS,
    MAX_TENSORS,
)
from google.protobuf.message import DecodeError

from boardd.reduce import dtypes, pca, readiness
from boardd.reduce.histogram.rules import MAX_RULE_BINS
from boardd.reduce.image.sprite import MAX_SPRITE_SIDE
from boardd.summaries.embedding import MIN_WORKING_BYTES

#: What any reduction may take: blocks of values, tables, small results.
_BLOCKS_BYTES: Final = 8 << 20
#: Copies of what is encoded: in the message, serialized, and framed.
_ENCODED_COPIES: Final = 4
#: Bytes of Python objects for a byte of a payload, and for a label.
_OBJECT_BYTES: Final = 48
_LABEL_BYTES: Final = 120
#: Samples of a clip that are converted at a time, with their copies as float64.
_SAMPLE_BYTES: Final = 24
_MAX_SAMPLES: Final = 2 << 20
#: Copies as float64 that rules of NumPy make of all values: some from a size on only.
_RULE_BYTES: Final = 40
_RULES_THAT_COPY: Final = ("stone", "scott")
_MOST_COPIED: Final = 1 << 16
#: Of a value whose quartiles NumPy finds, while kernels are awaited.
_QUARTILE_BYTES: Final = 8
#: Of a bucket of one of several histograms: its edge and count, encoded and in the event.
_BUCKET_BYTES: Final = 64
#: Buckets of TensorFlow's edges.
_DEFAULT_BINS: Final = 1549
#: Of one frame of a video, while it is tiled and its colours are chosen; and of each that is kept.
_FRAME_COPIES: Final = 20
_KEPT_FRAME_COPIES: Final = 7
_FRAME_BYTES: Final = 4096

#: A reduction may take so many bytes for each element of its tensors, if that is more than the
#: budget: no kind takes more of what a program logs in earnest, rules of NumPy the most.
_MOST_ELEMENT_BYTES: Final = 64
#: Pictures are made larger by padding alone: so many times, and in any case up to this.
_MOST_PICTURE_GROWTH: Final = 64
_PICTURE_BYTES: Final = 64 << 20
_PICTURES: Final = ("image", "video")


class MemoryEstimate(NamedTuple):
    """Bytes that a reduction takes, and the most that may be taken for these tensors."""

    size_bytes: int
    allowed_bytes: int

    @property
    def is_allowed(self) -> bool:
        """Whether it may be made at all."""
        return self.size_bytes <= self.allowed_bytes


def estimated_memory(
    payload: bytes, *, is_by_value: bool, budget_bytes: int, max_projection_bytes: int
) -> MemoryEstimate:
    """Returns the memory that a serialized ``Payload`` takes to be reduced.

    ``is_by_value``: its tensors came in chunks, which are joined. ``budget_bytes`` is what
    any reduction may take, ``max_projection_bytes`` what PCA may. One that is refused before
    it takes anything is estimated to take nothing.
    """
    nothing = MemoryEstimate(0, budget_bytes)
    try:
        message = pb.Payload.FromString(payload)
        if len(message.tensors) > MAX_TENSORS:
            return nothing
        input_bytes = sum(dtypes.size_bytes(one.dtype, one.shape) for one in message.tensors)
    except (DecodeError, InvalidTensorError):
        return nothing
    name = message.WhichOneof("summary") or ""
    size_bytes = _BLOCKS_BYTES + _OBJECT_BYTES * len(payload)
    if is_by_value:
        size_bytes += input_bytes
    for tensor in message.tensors:
        size_bytes += _converted_bytes(tensor)
    kind = _KINDS.get(name)
    if kind is not None and message.tensors:
        size_bytes += kind(message, max_projection_bytes)
    elements = sum(_elements(tensor) for tensor in message.tensors)
    allowed_bytes = max(budget_bytes, _MOST_ELEMENT_BYTES * elements)
    if name in _PICTURES:
        picture_bytes = max(_PICTURE_BYTES, _MOST_PICTURE_GROWTH * input_bytes)
        allowed_bytes = min(allowed_bytes, picture_bytes)
    return MemoryEstimate(size_bytes, allowed_bytes)


def _elements(tensor: pb.Tensor) -> int:
    return math.prod(tensor.shape)


def _item_bytes(tensor: pb.Tensor) -> int:
    """Bytes of an element as it is reduced."""
    return 4 if tensor.dtype == "bfloat16" else ITEM_BYTES[tensor.dtype]


def _converted_bytes(tensor: pb.Tensor) -> int:
    """Of the copy that is made of some dtypes before anything else."""
    return _elements(tensor) * {"bool": 1, "bfloat16": 4}.get(tensor.dtype, 0)


def _audio(message: pb.Payload, max_projection_bytes: int) -> int:
    samples = _elements(message.tensors[0])
    return 2 * _ENCODED_COPIES * samples + _SAMPLE_BYTES * min(samples, _MAX_SAMPLES)


def _tensor(message: pb.Payload, max_projection_bytes: int) -> int:
    tensor = message.tensors[0]
    return _ENCODED_COPIES * _item_bytes(tensor) * _elements(tensor)


def _mesh(message: pb.Payload, max_projection_bytes: int) -> int:
    return (1 + _ENCODED_COPIES) * sum(4 * _elements(tensor) for tensor in message.tensors)


def _counts(message: pb.Payload, max_projection_bytes: int) -> int:
    return _RULE_BYTES * sum(_elements(tensor) for tensor in message.tensors)


def _histogram(message: pb.Payload, max_projection_bytes: int) -> int:
    rule = message.histogram.rule
    if not rule or rule == DEFAULT_BINS:
        return 0
    values = _elements(message.tensors[0])
    if rule in _RULES_THAT_COPY:
        return _RULE_BYTES * values
    copied_bytes = _QUARTILE_BYTES * values if readiness.are_awaited() else 0
    return copied_bytes + _RULE_BYTES * min(values, _MOST_COPIED)


def _histograms(message: pb.Payload, max_projection_bytes: int) -> int:
    """Beside what one histogram takes: edges and counts of each, and what is encoded of them."""
    bins = message.histograms.bins
    kind = bins.WhichOneof("bins")
    count = bins.count if kind == "count" else MAX_RULE_BINS
    if kind == "edges":
        count = len(bins.edges.edges)
    elif bins.rule == DEFAULT_BINS or kind is None:
        count = _DEFAULT_BINS
    rule_bytes = 0
    if kind == "rule" and bins.rule != DEFAULT_BINS:
        rule_bytes = _RULE_BYTES * max((int(size) for size in message.histograms.sizes), default=0)
    return len(message.histograms.series) * count * _BUCKET_BYTES + rule_bytes


def _image(message: pb.Payload, max_projection_bytes: int) -> int:
    tensor, options = message.tensors[0], message.image
    sides = _sides(options.dataformats, tensor)
    if sides is None:
        return 0
    images, height, width, channels = (sides.get(letter, 1) for letter in "NHWC")
    columns = min(options.nrow or DEFAULT_NROW, images)
    padding = options.padding if images > 1 else 0
    pixels = ((-(-images // columns)) * (height + padding) + padding) * (
        columns * (width + padding) + padding
    )
    if pixels > MAX_PIXELS:
        return 0
    tile_bytes = height * width * channels * (2 * max(4, _item_bytes(tensor)) + 1)
    normalized_bytes = (_item_bytes(tensor) + 1) * _elements(tensor) if options.normalize else 0
    boxes_bytes = 3 * pixels * max(3, channels) if options.has_boxes else 0
    grid_bytes = (2 + _ENCODED_COPIES) * pixels * channels
    return int(grid_bytes + tile_bytes + normalized_bytes + boxes_bytes)


def _video(message: pb.Payload, max_projection_bytes: int) -> int:
    tensor = message.tensors[0]
    sides = _sides(message.video.dataformats or "NTCHW", tensor)
    if sides is None:
        return 0
    clips = 1 << max(0, sides.get("N", 1) - 1).bit_length()
    pixels = clips * sides.get("H", 1) * sides.get("W", 1)
    frames = sides.get("T", 1)
    if pixels > MAX_PIXELS:
        return 0
    return int(_FRAME_COPIES * pixels + frames * (_KEPT_FRAME_COPIES * pixels + _FRAME_BYTES))


def _sides(dataformats: str, tensor: pb.Tensor) -> Mapping[str, int] | None:
    """The lengths by letter; None if there is nothing to be drawn."""
    if len(dataformats) != len(tensor.shape) or not _elements(tensor):
        return None
    return dict(zip(dataformats, tensor.shape, strict=True))


def _embedding(message: pb.Payload, max_projection_bytes: int) -> int:
    matrix, options = message.tensors[0], message.embedding
    if len(matrix.shape) != 2 or not _elements(matrix):
        return 0
    rows, columns = matrix.shape
    kept = min(rows, MAX_EMBEDDING_ROWS)
    shown = options.project_to if 0 < options.project_to < columns else 0
    if shown:
        size_bytes = _item_bytes(matrix) * kept * columns + 4 * kept * shown
        size_bytes += _projection(kept, columns, shown, max_projection_bytes)
    else:
        size_bytes = 4 * rows * columns + 2 * 4 * kept * columns
    for index in (options.labels_tensor, options.metadata_tensor):
        if 0 < index < len(message.tensors):
            size_bytes += _labels(
                message.tensors[index], kept, is_text=index != options.labels_tensor
            )
    if 0 < options.images_tensor < len(message.tensors):
        size_bytes += _thumbnails(message.tensors[options.images_tensor], kept)
    return int(size_bytes)


def _projection(rows: int, columns: int, dimensions: int, max_bytes: int) -> int:
    """As ``embedding`` decides: exact if that fits, else approximated, else refused."""
    budget_bytes = max(max_bytes, MIN_WORKING_BYTES)
    needed_bytes = pca.working_bytes(rows, columns, dimensions)
    if needed_bytes > budget_bytes:
        needed_bytes = pca.working_bytes(rows, columns, dimensions, exact_side=0)
    return needed_bytes if needed_bytes <= budget_bytes else 0


def _labels(tensor: pb.Tensor, rows: int, *, is_text: bool) -> int:
    """Of text that came as text, each line is an object, and what is shown is joined."""
    elements = _elements(tensor)
    if is_text:
        return int(4 * elements + _LABEL_BYTES * (rows + min(elements // 2, MAX_LABELS)))
    columns = elements // max(1, tensor.shape[0] if tensor.shape else 1)
    return int(_LABEL_BYTES * rows * columns)


def _thumbnails(tensor: pb.Tensor, kept: int) -> int:
    if len(tensor.shape) != 4 or not _elements(tensor):
        return 0
    images, channels, height, width = tensor.shape
    per_row = math.isqrt(kept - 1) + 1
    sheet_pixels = min(MAX_SPRITE_SIDE**2, per_row * per_row * height * width)
    of_row = per_row * height * width * channels * (2 * max(4, _item_bytes(tensor)) + 1)
    copied_bytes = _item_bytes(tensor) * kept * channels * height * width
    if kept == images:
        copied_bytes = 0
    return int((2 + _ENCODED_COPIES) * sheet_pixels * channels + of_row + copied_bytes)


#: What a kind takes beside the copies of all kinds.
_KINDS: Final[Mapping[str, Callable[[pb.Payload, int], int]]] = {
    "audio": _audio,
    "embedding": _embedding,
    "histogram": _histogram,
    "histograms": _histograms,
    "histogram_raw": _counts,
    "image": _image,
    "mesh": _mesh,
    "pr_curve_raw": _counts,
    "tensor": _tensor,
    "video": _video,
}
