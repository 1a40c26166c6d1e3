"""Scalars by the column: arrays in, encoded records out.

Byte for byte what protobuf would serialize, without a message per scalar. An
event that holds one scalar is::

    09 <f64 wall_time>                 Event.wall_time      left out if +0.0
    10 <varint step>                   Event.step           left out if 0
    2a <varint length>                 Event.summary
       0a <varint length>              Summary.value
          0a <varint length> <tag>     Value.tag            left out if empty
          15 <f32 value>               Value.simple_value

in a record of ``tfrecord``. Behind it comes the exact value (``exact``), if that is asked
for and the float32 is rounded::

    81 e9 09 <f64 value>               Exact.scalar

A varint holds seven bits a byte, lowest first, the
top bit set on all but the last; a negative int64 takes ten of them. Source:
protobuf.dev, "Encoding".

The loop (``scalars_kernel``) is compiled by numba on first need. A few scalars are serialized by
protobuf until then, so that an idle daemon never loads numba; and all of them while the loop is
compiled elsewhere (``readiness``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.events import event, readiness
from boardd.events.event_pb2 import Summary
from boardd.events.exact import SCALAR_BYTES, with_scalar
from boardd.events.tag_names import TagNames
from boardd.events.tfrecord import OVERHEAD_BYTES

#: Protobuf encodes up to this many scalars while the loop is not compiled.
UNCOMPILED_MAX: Final = 64

#: wall_time 9, step 11, and tag byte and length (at most 5 bytes) of summary,
#: value and tag 18, simple_value 5.
_EVENT_BYTES_MAX: Final = 9 + 11 + 18 + 5
_RECORD_BYTES_MAX: Final = OVERHEAD_BYTES + _EVENT_BYTES_MAX

_Kernel = Callable[..., Any]
_kernel: _Kernel | None = None
_kernel_lock = threading.Lock()


def encode_scalars(
    wall_time: npt.NDArray[np.float64],
    step: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    tag_index: npt.NDArray[np.intp],
    tags: Sequence[bytes],
    *,
    names: TagNames | None = None,
    is_exact: bool = False,
) -> bytes:
    """Returns n encoded records, in order: events of one scalar each.

    The four arrays have shape ``[n]``; scalar i has the tag
    ``tags[tag_index[i]]``, in UTF-8. Calls whose ``tags`` only grow are faster if they give
    the same ``names``, at first new ones. Values are rounded to float32, and with ``is_exact``
    also kept as they are; any value is allowed. Releases the GIL for all but a few scalars.

    Raises ``ValueError`` when shapes differ, a wall time is not finite, an
    index is out of range or a tag is not UTF-8.
    """
    times, doubles = _plain(wall_time, np.float64), _plain(value, np.float64)
    steps, indices = _plain(step, np.int64), _plain(tag_index, np.intp)
    if times.ndim != 1 or not times.shape == steps.shape == indices.shape == doubles.shape:
        raise ValueError(
            f"columns differ in shape: wall_time {times.shape}, step {steps.shape}, "
            f"value {doubles.shape}, tag_index {indices.shape}"
        )
    if len(times) == 0:
        return b""
    finite = np.isfinite(times)
    if not finite.all():
        event.checked_wall_time(float(times[np.argmin(finite)]))
    names = TagNames() if names is None else names
    names.extend(tags)
    chosen = names.chosen(indices)
    if readiness.are_awaited() or (_kernel is None and len(times) <= UNCOMPILED_MAX):
        return _encode_with_protobuf(times, steps, doubles, indices, tags, is_exact=is_exact)
    size_max = chosen.size_bytes + len(times) * (_RECORD_BYTES_MAX + SCALAR_BYTES * is_exact)
    out = np.empty(size_max, np.uint8)
    size = _load_kernel()(
        times.view(np.uint64),
        steps.view(np.uint64),
        doubles,
        chosen.indices,
        names.text,
        names.begins,
        names.lengths,
        is_exact,
        out,
    )
    return out[:size].tobytes()


def _plain(column: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Returns ``column`` as the loop reads it: contiguous and aligned."""
    if column.dtype == dtype and column.flags.c_contiguous and column.flags.aligned:
        return column
    return np.array(column, dtype, order="C")


def _encode_with_protobuf(
    times: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    doubles: npt.NDArray[np.float64],
    indices: npt.NDArray[np.intp],
    tags: Sequence[bytes],
    *,
    is_exact: bool,
) -> bytes:
    with np.errstate(over="ignore"):
        singles = doubles.astype(np.float32)
    names = {index: tags[index].decode("utf-8") for index in set(indices.tolist())}
    columns = zip(times.tolist(), steps.tolist(), singles.tolist(), indices.tolist(), strict=True)
    events = [
        event.summary(time, step, Summary.Value(tag=names[index], simple_value=single))
        for time, step, single, index in columns
    ]
    if is_exact:
        for row in np.flatnonzero((doubles != singles) & (doubles == doubles)).tolist():
            events[row] = with_scalar(events[row], float(doubles[row]))
    return b"".join(events)


def _load_kernel() -> _Kernel:
    global _kernel
    with _kernel_lock:
        if _kernel is None:
            from boardd.events import scalars_kernel

            _kernel = scalars_kernel.encode
        return _kernel
