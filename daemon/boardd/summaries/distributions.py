"""Numbers and how they are distributed: scalars, histograms, precision-recall curves."""

from __future__ import annotations

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import DEFAULT_BINS

from boardd.events import plugins, values
from boardd.events.event_pb2 import Summary
from boardd.events.wire import EncodedValue
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.histogram import histogram
from boardd.reduce.pr_curve import pr_curve
from boardd.summaries.reduction import ReductionInput, ReductionOutput


def summarize_histogram(source: ReductionInput) -> ReductionOutput:
    """A histogram; beside it, scalars that count what is not finite, if there is any.

    A histogram has no room for them; their tags are the histogram's with
    ``/nan``, ``/positive_infinity`` and ``/negative_infinity``. Raises ``InvalidRecordError``
    and ``InvalidTensorError``.
    """
    result = histogram(source.arrays[0], bins_of(source.payload.histogram))
    found: list[Summary.Value | EncodedValue] = [values.histogram_value(source.tag, result)]
    for name, count in (
        ("nan", result.nan_count),
        ("positive_infinity", result.positive_infinity_count),
        ("negative_infinity", result.negative_infinity_count),
    ):
        if count:
            found.append(values.scalar_value(f"{source.tag}/{name}", count))
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
    message = source.payload.histogram_raw
    limits, counts = source.arrays
    value = values.histogram_raw_value(
        source.tag,
        min=message.min,
        max=message.max,
        num=message.num,
        sum=message.sum,
        sum_squares=message.sum_squares,
        limits=limits,
        counts=counts,
    )
    return ReductionOutput([value])


def summarize_pr_curve(source: ReductionInput) -> ReductionOutput:
    """A curve of predictions against labels. Raises ``InvalidTensorError``."""
    labels, predictions, *weights = source.arrays
    curve = pr_curve(
        labels, predictions, source.payload.pr_curve.num_thresholds, weights[0] if weights else None
    )
    return ReductionOutput([plugins.pr_curve_value(source.tag, *curve.rows())])


def summarize_pr_curve_raw(source: ReductionInput) -> ReductionOutput:
    """A curve that the client counted. Raises ``InvalidTensorError``."""
    thresholds = source.payload.pr_curve_raw.num_thresholds
    if thresholds != source.arrays[0].size:
        raise InvalidTensorError(
            f"{thresholds} thresholds and counts of shape {source.arrays[0].shape}; "
            "give a count for each threshold"
        )
    return ReductionOutput([plugins.pr_curve_value(source.tag, *source.arrays)])
