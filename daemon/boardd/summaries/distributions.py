"""Numbers and how they are distributed: scalars, histograms, precision-recall curves."""

from __future__ import annotations

import math

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import DEFAULT_BINS
from numpy.typing import NDArray

from boardd.events import plugins, values
from boardd.events.event_pb2 import Summary
from boardd.events.wire import EncodedValue
from boardd.partials.curves import Curve, curve_of
from boardd.partials.exact_array import ExactArray
from boardd.partials.exact_sum import FloatSum
from boardd.partials.grid_rules import shown_grid
from boardd.partials.histograms import (
    EdgesHistogram,
    GridHistogram,
    Moments,
    RawHistogram,
    histogram_of,
)
from boardd.partials.partial import Mergeable
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.histogram import Histogram, histogram
from boardd.reduce.pr_curve import pr_curve
from boardd.summaries.reduction import ReductionInput, ReductionOutput


def summarize_histogram(source: ReductionInput) -> ReductionOutput:
    """A histogram; beside it, scalars that count what is not finite, if there is any.

    A histogram has no room for them; their tags are the histogram's with
    ``/nan``, ``/positive_infinity`` and ``/negative_infinity``. Raises ``InvalidRecordError``
    and ``InvalidTensorError``.
    """
    result = histogram(source.arrays[0], bins_of(source.payload.histogram))
    return shown_histogram(source.tag, result)


def share_histogram(source: ReductionInput, rank: int) -> Mergeable:
    """What a rank contributes to a histogram. Raises as ``summarize_histogram``."""
    return histogram_of(source.arrays[0], bins_of(source.payload.histogram))


def present_edges_histogram(tag: str, step: int, merged: EdgesHistogram) -> ReductionOutput:
    """A histogram of all ranks' values over the edges that were given."""
    return shown_histogram(tag, _counted(merged.moments, merged.edges, merged.counts))


def present_grid_histogram(tag: str, step: int, merged: GridHistogram) -> ReductionOutput:
    """A histogram of all ranks' values in buckets of a power of two."""
    grid = shown_grid(merged)
    return shown_histogram(tag, _counted(merged.moments, grid.edges, grid.counts))


def _counted(moments: Moments, edges: NDArray[np.float64], counts: NDArray[np.int64]) -> Histogram:
    squares = math.inf if moments.square_overflow_count else moments.squares.value
    return Histogram(
        moments.min,
        moments.max,
        moments.num,
        moments.sum.value,
        squares,
        edges,
        counts,
        moments.nan_count,
        moments.positive_infinity_count,
        moments.negative_infinity_count,
    )


def shown_histogram(tag: str, result: Histogram) -> ReductionOutput:
    """What is shown of a histogram; see ``summarize_histogram``."""
    found: list[Summary.Value | EncodedValue] = [values.histogram_value(tag, result)]
    for name, count in (
        ("nan", result.nan_count),
        ("positive_infinity", result.positive_infinity_count),
        ("negative_infinity", result.negative_infinity_count),
    ):
        if count:
            found.append(values.scalar_value(f"{tag}/{name}", count))
    return ReductionOutput(found)


def bins_of(message: pb.Histogram) -> Bins:
    """Returns the bins that a payload asks for. Raises ``InvalidRecordError``, see ``Bins``."""
    kind = message.WhichOneof("bins")
    if kind == "count":
        return EqualWidth(message.count)
    if kind == "edges":
        return Edges(np.array(message.edges.edges, np.float64))
    if kind == "rule" and message.rule != DEFAULT_BINS:
        return Rule(message.rule)
    return default_edges()


def summarize_histogram_raw(source: ReductionInput) -> ReductionOutput:
    """A histogram that the client counted. Raises ``InvalidRecordError``."""
    return ReductionOutput([_raw_value(source)])


def share_histogram_raw(source: ReductionInput, rank: int) -> Mergeable:
    """What a rank contributes to a histogram that clients count. Raises ``InvalidRecordError``."""
    _raw_value(source)
    message = source.payload.histogram_raw
    limits, counts = source.arrays
    has_counts = bool(counts.any())
    return RawHistogram(
        limits.astype(np.float64),
        ExactArray.of_counts(counts),
        message.min + 0.0 if has_counts else 0.0,
        message.max + 0.0 if has_counts else 0.0,
        FloatSum.of(message.num),
        FloatSum.of(message.sum),
        FloatSum.of(message.sum_squares),
    )


def present_raw_histogram(tag: str, step: int, merged: RawHistogram) -> ReductionOutput:
    """A histogram of what all ranks' clients counted."""
    value = values.histogram_raw_value(
        tag,
        min=merged.min,
        max=merged.max,
        num=merged.num.value,
        sum=merged.sum.value,
        sum_squares=merged.squares.value,
        limits=merged.limits,
        counts=merged.counts.values,
    )
    return ReductionOutput([value])


def _raw_value(source: ReductionInput) -> EncodedValue:
    message = source.payload.histogram_raw
    limits, counts = source.arrays
    return values.histogram_raw_value(
        source.tag,
        min=message.min,
        max=message.max,
        num=message.num,
        sum=message.sum,
        sum_squares=message.sum_squares,
        limits=limits,
        counts=counts,
    )


def summarize_pr_curve(source: ReductionInput) -> ReductionOutput:
    """A curve of predictions against labels. Raises ``InvalidTensorError``."""
    labels, predictions, *weights = source.arrays
    curve = pr_curve(
        labels, predictions, source.payload.pr_curve.num_thresholds, weights[0] if weights else None
    )
    return ReductionOutput([plugins.pr_curve_value(source.tag, *curve.rows())])


def summarize_pr_curve_raw(source: ReductionInput) -> ReductionOutput:
    """A curve that the client counted. Raises ``InvalidTensorError``."""
    return ReductionOutput([_raw_curve_value(source)])


def share_pr_curve(source: ReductionInput, rank: int) -> Mergeable:
    """What a rank contributes to a curve. Raises ``InvalidTensorError``."""
    labels, predictions, *weights = source.arrays
    return curve_of(
        labels, predictions, source.payload.pr_curve.num_thresholds, weights[0] if weights else None
    )


def share_pr_curve_raw(source: ReductionInput, rank: int) -> Mergeable:
    """What a rank contributes to a curve that clients count. Raises ``InvalidTensorError``."""
    _raw_curve_value(source)
    counts = np.concatenate([row.astype(np.float64) for row in source.arrays[:4]])
    return Curve(source.arrays[0].size, True, ExactArray.of_counts(counts))


def present_curve(tag: str, step: int, merged: Curve) -> ReductionOutput:
    """A curve of all ranks' counts; precision and recall are made of those."""
    return ReductionOutput([plugins.pr_curve_value(tag, *merged.curve.rows())])


def _raw_curve_value(source: ReductionInput) -> Summary.Value:
    thresholds = source.payload.pr_curve_raw.num_thresholds
    if thresholds != source.arrays[0].size:
        raise InvalidTensorError(
            f"{thresholds} thresholds and counts of shape {source.arrays[0].shape}; "
            "give a count for each threshold"
        )
    return plugins.pr_curve_value(source.tag, *source.arrays)
