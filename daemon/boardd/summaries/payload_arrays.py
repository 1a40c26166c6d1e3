"""The tensors of a payload as arrays: from shared maps, or from what came in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidTensorError
from numpy.typing import NDArray

from boardd.reduce import dtypes
from boardd.summaries.reduction import SummaryError

#: ``has_hole`` of maps that can tell where nothing was written: whether a part of these bytes
#: of a map, from where to where, never was.
_HasHole = Callable[[int, int, int], bool]


def arrays_of(
    tag: str,
    payload: pb.Payload,
    chunks: Mapping[int, Sequence[bytes]],
    max_bytes: int,
    maps: Mapping[int, memoryview] | None,
) -> list[NDArray[Any]]:
    """Returns a payload's tensors: from the slots in ``maps``, or of ``chunks`` if it has none.

    Raises ``InvalidTensorError`` and ``SummaryError``.
    """
    if maps is not None and payload.slots:
        return shared_arrays(tag, payload, maps, max_bytes)
    return [
        chunked_array(tensor, chunks.get(number, ()))
        for number, tensor in enumerate(payload.tensors)
    ]


def shared_arrays(
    tag: str, payload: pb.Payload, maps: Mapping[int, memoryview], max_bytes: int
) -> list[NDArray[Any]]:
    """Returns a payload's tensors where they lie. The slot of an empty tensor is empty.

    Raises ``InvalidTensorError`` and ``SummaryError``.
    """
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
    # An instance check against a protocol takes as long as a small histogram.
    has_hole: _HasHole | None = getattr(maps, "has_hole", None)
    arrays = []
    for tensor, slot in zip(payload.tensors, payload.slots, strict=True):
        slot_bytes = slot.size_bytes
        if not slot_bytes:
            arrays.append(chunked_array(tensor, ()))
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
        if has_hole is not None and has_hole(slot.map, start, end):
            raise InvalidTensorError(
                f"the tensor lies in bytes {start} to {end} of map {slot.map}, not all of which "
                "were written"
            )
        arrays.append(dtypes.as_array(view[start:end], tensor.dtype, tensor.shape))
    return arrays


def chunked_array(tensor: pb.Tensor, chunks: Sequence[bytes]) -> NDArray[Any]:
    """Returns a tensor that came in ``chunks``. Raises ``InvalidTensorError``."""
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
