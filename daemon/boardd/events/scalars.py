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
compiled elsewhere (``await_kernel``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.events import event
from boardd.events.event_pb2 import Summary
from boardd.events.exact import SCALAR_BYTES, with_scalar
from boardd.events.tag_names import Chosen, TagNames
from boardd.events.tfrecord import OVERHEAD_BYTES

#: Protobuf encodes up to this many scalars while the loop is not compiled.
UNCOMPILED_MAX: Final = 64

#: wall_time 9, step 11, and tag byte and length (at most 5 bytes) of summary,
#: value and tag 18, simple_value 5.
_EVENT_BYTES_MAX: Final = 9 + 11 + 18 + 5

_Kernel = Callable[..., Any]
_kernel: _Kernel | None = None
_kernel_lock = threading.Lock()
_is_awaited = False


def await_kernel() -> None:
    """Lets protobuf encode any number of scalars from now on, so that nothing is compiled."""
    global _is_awaited
    _is_awaited = True


def kernel_is_there() -> None:
    """Lets the loop encode all but a few scalars from now on."""
    global _is_awaited
    _is_awaited = False


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
    with np.errstate(over="ignore"):
        singles = doubles.astype(np.float32)
    if times.ndim != 1 or not times.shape == steps.shape == indices.shape == singles.shape:
        raise ValueError(
            f"columns differ in shape: wall_time {times.shape}, step {steps.shape}, "
            f"value {singles.shape}, tag_index {indices.shape}"
        )
    if len(times) == 0:
        return b""
    finite = np.isfinite(times)
    if not finite.all():
        event.checked_wall_time(float(times[np.argmin(finite)]))
    exact = doubles if is_exact else doubles[:0]
    names = TagNames() if names is None else names
    names.extend(tags)
    chosen = names.chosen(indices)
    if _is_awaited or (_kernel is None and len(times) <= UNCOMPILED_MAX):
        return _encode_with_protobuf(times, steps, singles, indices, tags, exact)
    return _encode_with_kernel(times, steps, singles, chosen, names, exact)


def _plain(column: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Returns ``column`` as the loop reads it: contiguous and aligned."""
    if column.dtype == dtype and column.flags.c_contiguous and column.flags.aligned:
        return column
    return np.array(column, dtype, order="C")


def _encode_with_protobuf(
    times: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    singles: npt.NDArray[np.float32],
    indices: npt.NDArray[np.intp],
    tags: Sequence[bytes],
    exact: npt.NDArray[np.float64],
) -> bytes:
    names = {index: tags[index].decode("utf-8") for index in set(indices.tolist())}
    columns = zip(times.tolist(), steps.tolist(), singles.tolist(), indices.tolist(), strict=True)
    events = [
        event.summary(time, step, Summary.Value(tag=names[index], simple_value=single))
        for time, step, single, index in columns
    ]
    if len(exact):
        for row in np.flatnonzero(is_rounded(exact, singles)).tolist():
            events[row] = with_scalar(events[row], float(exact[row]))
    return b"".join(events)


def is_rounded(
    exact: npt.NDArray[np.float64], singles: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Which of n values are not their float32, bool[n]. NaN is."""
    rounded: npt.NDArray[np.bool_] = (exact != singles) & (exact == exact)
    return rounded


def _encode_with_kernel(
    times: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    singles: npt.NDArray[np.float32],
    chosen: Chosen,
    names: TagNames,
    exact: npt.NDArray[np.float64],
) -> bytes:
    rounded = is_rounded(exact, singles) if len(exact) else np.zeros(0, bool)
    size_max = chosen.size_bytes + len(times) * (OVERHEAD_BYTES + _EVENT_BYTES_MAX)
    size_max += int(rounded.sum()) * SCALAR_BYTES
    out = np.empty(size_max, np.uint8)
    size = _load_kernel()(
        times.view(np.uint64),
        steps.view(np.uint64),
        singles.view(np.uint32),
        chosen.indices,
        names.text,
        names.begins,
        names.lengths,
        exact.view(np.uint64),
        rounded.view(np.uint8),
        out,
    )
    return out[:size].tobytes()


def _load_kernel() -> _Kernel:
    global _kernel
    with _kernel_lock:
        if _kernel is None:
            from boardd.events import scalars_kernel

            _kernel = scalars_kernel.encode
        return _kernel
