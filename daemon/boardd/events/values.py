"""Summary values: what one tag has at one step.

The forms are the ones MXBoard and tensorboardX write (``simple_value``,
``histo``, ``image``), so that every TensorBoard and every script that reads
event files understands them. TensorBoard converts them as it loads
(tensorboard/data_compat.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boardd.events.event_pb2 import HistogramProto, Summary

if TYPE_CHECKING:
    from boardd.reduce.histogram import Histogram


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
    filled = np.flatnonzero(histogram.counts)
    low, high = histogram.min, histogram.max
    right_edges: list[float] = []
    counts: list[int] = []
    if filled.size:
        buckets = slice(int(filled[0]), int(filled[-1]) + 1)
        left_edges = histogram.edges[:-1][buckets].tolist()
        right_edges = histogram.edges[1:][buckets].tolist()
        counts = histogram.counts[buckets].tolist()
        low = min(max(low, left_edges[0]), right_edges[0])
        high = min(max(high, left_edges[-1]), right_edges[-1])
    return Summary.Value(
        tag=tag,
        histo=HistogramProto(
            min=low,
            max=high,
            num=histogram.num,
            sum=histogram.sum,
            sum_squares=histogram.sum_squares,
            bucket_limit=right_edges,
            bucket=counts,
        ),
    )


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
