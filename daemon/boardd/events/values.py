"""Summary values: what one tag has at one step.

The forms are the ones MXBoard and tensorboardX write (``simple_value``,
``histo``, ``image``), so that every TensorBoard and every script that reads
event files understands them. TensorBoard converts them as it loads
(tensorboard/data_compat.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from boardd.events.event_pb2 import HistogramProto, Summary
from boardd.reduce.bins import BinsError

if TYPE_CHECKING:
    from boardd.reduce.histogram import Histogram

#: Of HistogramProto's fields 6 and 7, whose wire type is 2.
_LIMIT_TAG: Final = b"\x32"
_COUNT_TAG: Final = b"\x3a"


def scalar_value(tag: str, value: float) -> Summary.Value:
    """A scalar, stored as float32: rounded to nearest, infinite past its range."""
    with np.errstate(over="ignore"):
        return Summary.Value(tag=tag, simple_value=float(np.float32(value)))


def histogram_value(tag: str, histogram: Histogram) -> Summary.Value:
    """A histogram, without the empty buckets at its ends.

    ``bucket_limit`` holds right edges. TensorBoard takes the left edge of the
    first bucket from ``min`` and the right edge of the last from ``max``; its
    data server does so even where those buckets are empty, and then shows
    edges that run backwards. So empty ones are left out, and ``min`` and ``max``
    are the extremes of the data where those lie in the outer buckets, as they
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
) -> Summary.Value:
    """A histogram that was counted elsewhere.

    ``limits`` are the right edges of the buckets, ascending, and ``counts`` how
    many of the ``num`` values lie in each; the first bucket begins at ``min``.
    Outer buckets may reach far beyond ``min`` and ``max``, as TensorFlow's do:
    what is written is as for ``histogram_value``.

    Raises ``BinsError`` unless limits and counts are two vectors of one length,
    the limits ascend, without NaN, the counts are finite and not negative, and
    ``min`` and ``max`` are finite where something was counted.
    """
    if limits.ndim != 1 or limits.shape != counts.shape:
        raise BinsError(
            f"bucket limits of shape {limits.shape} and counts of shape {counts.shape}; "
            "give a limit and a count for each bucket"
        )
    for what, array in (("limits", limits), ("counts", counts)):
        if array.dtype.kind not in "biuf":
            raise BinsError(f"bucket {what} of {array.dtype}; give numbers")
    limits = limits.astype(np.float64)
    counts = counts.astype(np.float64)
    if np.isnan(limits).any() or (limits[1:] < limits[:-1]).any():
        raise BinsError("bucket limits that do not ascend; give the right edges in order")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise BinsError("bucket counts that are negative or not finite")
    if counts.any() and not (math.isfinite(min) and math.isfinite(max)):
        raise BinsError(f"a histogram of values from {min} to {max}; give finite ones")
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
) -> Summary.Value:
    filled = bucket_counts.nonzero()[0]
    low, high = min, max
    packed = b""
    if filled.size:
        start, stop = int(filled[0]), int(filled[-1]) + 1
        low = _clamped(low, float(edges[start]), float(edges[start + 1]))
        high = _clamped(high, float(edges[stop - 1]), float(edges[stop]))
        packed = _packed(_LIMIT_TAG, edges[start + 1 : stop + 1]) + _packed(
            _COUNT_TAG, bucket_counts[start:stop]
        )
    value = Summary.Value(
        tag=tag,
        histo=HistogramProto(min=low, max=high, num=num, sum=sum, sum_squares=sum_squares),
    )
    value.histo.MergeFromString(packed)
    return value


def _packed(field_tag: bytes, values: npt.NDArray[Any]) -> bytes:
    """A packed repeated double of a message, without a Python object for each value.

    Source: protobuf.dev, "Encoding": tag, length in bytes as a varint, doubles.
    """
    data = values.astype("<f8").tobytes()
    length = bytearray()
    rest = len(data)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return b"".join((field_tag, length, data))


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
