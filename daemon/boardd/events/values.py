"""Summary values: what one tag has at one step.

The forms are the ones MXBoard and tensorboardX write (``simple_value``,
``histo``, ``image``), so that every TensorBoard and every script that reads
event files understands them. TensorBoard converts them as it loads
(tensorboard/data_compat.py).
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.summary_kind import SummaryKind

from boardd.events.event_pb2 import Summary
from boardd.events.wire import EncodedValue, varint

#: Of Value's fields 1 and 5 and HistogramProto's fields 6 and 7, whose wire type is 2.
_TAG_TAG: Final = b"\x0a"
_HISTOGRAM_TAG: Final = b"\x2a"
_LIMIT_TAG: Final = b"\x32"
_COUNT_TAG: Final = b"\x3a"

#: Of HistogramProto: min, max, num, sum and sum_squares, each behind its tag.
_HISTOGRAM_FIELDS: Final = struct.Struct("<BdBdBdBdBd")

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = np.dtype("<f8")


class CountedHistogram(Protocol):
    """What is read of a histogram; whoever counts it need not know this room."""

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The bounds of its n buckets, float64[n + 1], ascending."""

    @property
    def counts(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
        """The number of values in each bucket, int64[n] or float64[n]."""

    @property
    def num(self) -> int:
        """The number of finite values, those outside all buckets included."""

    @property
    def min(self) -> float:
        """The smallest finite value; 0 when there is none."""

    @property
    def max(self) -> float:
        """The largest finite value; 0 when there is none."""

    @property
    def sum(self) -> float:
        """The sum of the finite values."""

    @property
    def sum_squares(self) -> float:
        """The sum of their squares."""


def scalar_value(tag: str, value: float) -> Summary.Value:
    """A scalar, stored as float32: rounded to nearest, infinite past its range."""
    try:
        (rounded,) = _FLOAT.unpack(_FLOAT.pack(value))
    except OverflowError:
        rounded = math.copysign(math.inf, value)
    return Summary.Value(tag=tag, simple_value=rounded)


def histogram_value(tag: str, histogram: CountedHistogram) -> EncodedValue:
    """A histogram, without the empty buckets at its ends; serialized, as it may have very many.

    ``bucket_limit`` holds right edges. TensorBoard takes the left edge of the
    first bucket from ``min`` and the right edge of the last from ``max``; its
    data server does so even if those buckets are empty, and then shows
    edges that run backwards. So empty ones are left out, and ``min`` and ``max``
    are the extremes of the data if those lie in the outer buckets, as they
    do unless values fell outside the edges; then they are the edges, since the
    counts leave such values out.

    A histogram that counted nothing has no bucket, which TensorBoard knows from
    its own writer: an empty one would stretch the axis of the whole series.
    """
    return _histogram_value(
        tag,
        histogram.edges,
        histogram.counts,
        min=histogram.min,
        max=histogram.max,
        num=histogram.num,
        sum=histogram.sum,
        sum_squares=histogram.sum_squares,
    )


def histogram_raw_value(
    tag: str,
    *,
    min: float,
    max: float,
    num: float,
    sum: float,
    sum_squares: float,
    limits: npt.NDArray[Any],
    counts: npt.NDArray[Any],
) -> EncodedValue:
    """A histogram that was counted elsewhere.

    ``limits`` are the right edges of the buckets, ascending, and ``counts`` how
    many of the ``num`` values lie in each; the first bucket begins at ``min``.
    Outer buckets may reach far beyond ``min`` and ``max``, as TensorFlow's do:
    what is written is as for ``histogram_value``.

    Raises ``InvalidRecordError`` unless limits and counts are two vectors of one length,
    the limits ascend, without NaN, the counts are finite and not negative, and
    ``min`` and ``max`` are finite if something was counted.
    """
    if limits.ndim != 1 or limits.shape != counts.shape:
        raise InvalidRecordError(
            f"bucket limits of shape {limits.shape} and counts of shape {counts.shape}; "
            "give a limit and a count for each bucket"
        )
    for what, array in (("limits", limits), ("counts", counts)):
        if array.dtype.kind not in "biuf":
            raise InvalidRecordError(f"bucket {what} of {array.dtype}; give numbers")
    limits = limits.astype(np.float64)
    counts = counts.astype(np.float64)
    if np.isnan(limits).any() or (limits[1:] < limits[:-1]).any():
        raise InvalidRecordError("bucket limits that do not ascend; give the right edges in order")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise InvalidRecordError("bucket counts that are negative or not finite")
    if counts.any() and not (math.isfinite(min) and math.isfinite(max)):
        raise InvalidRecordError(f"a histogram of values from {min} to {max}; give finite ones")
    first = np.minimum(min, limits[:1])
    return _histogram_value(
        tag,
        np.concatenate((first, limits)),
        counts,
        min=min,
        max=max,
        num=num,
        sum=sum,
        sum_squares=sum_squares,
    )


def _histogram_value(
    tag: str,
    edges: npt.NDArray[np.float64],
    bucket_counts: npt.NDArray[Any],
    *,
    min: float,
    max: float,
    num: float,
    sum: float,
    sum_squares: float,
) -> EncodedValue:
    start, stop = _filled(bucket_counts)
    low, high = min, max
    packed: tuple[bytes | memoryview, ...] = ()
    packed_bytes = 0
    if stop:
        low = _clamped(low, float(edges[start]), float(edges[start + 1]))
        high = _clamped(high, float(edges[stop - 1]), float(edges[stop]))
        # Packed repeated doubles, without a Python object for each.
        limits = edges[start + 1 : stop + 1].astype(_DOUBLE, copy=False).data
        counts = bucket_counts[start:stop].astype(_DOUBLE, copy=False).data
        length = varint(limits.nbytes)
        packed = (_LIMIT_TAG, length, limits, _COUNT_TAG, length, counts)
        packed_bytes = 2 * (1 + len(length) + limits.nbytes)
    fields = _HISTOGRAM_FIELDS.pack(9, low, 17, high, 25, num, 33, sum, 41, sum_squares)
    name = tag.encode()
    data = b"".join(
        (
            *(_TAG_TAG, varint(len(name)), name) * bool(name),
            *(_HISTOGRAM_TAG, varint(len(fields) + packed_bytes), fields),
            *packed,
        )
    )
    return EncodedValue(name, SummaryKind.HISTOGRAM, data)


def _filled(counts: npt.NDArray[Any]) -> tuple[int, int]:
    """The first bucket that is not empty, and the end of the last one; 0 and 0 if all are."""
    if counts.size and counts[0] and counts[-1]:
        return 0, counts.size
    filled = counts.nonzero()[0]
    return (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 0)


def _clamped(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def image_value(tag: str, png: bytes, height: int, width: int, channels: int) -> Summary.Value:
    """An encoded image of ``height`` by ``width`` pixels.

    ``channels`` is 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA), which is
    also how TensorFlow numbers the field ``colorspace``.
    """
    return Summary.Value(
        tag=tag,
        image=Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png
        ),
    )
