"""Histograms that ranks contribute: many records in one go, each as ``reduce_shared`` makes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.limits import DEFAULT_BINS, MAX_DIMENSIONS
from numpy.typing import NDArray

from boardd.partials.many_histograms import histograms_of, is_made_together
from boardd.partials.partial import Partial
from boardd.reduce.histogram.bins import EqualWidth, Rule
from boardd.summaries.payload_arrays import arrays_of
from boardd.summaries.reduction import SummaryError
from boardd.summaries.summarize import Refusing, reduce_shared

_DTYPES: Final = ("float32", "float64")


@dataclass(eq=False, slots=True)
class SharedRecord:
    """A record of ``rank``; ``message`` is the parsed ``payload``. See ``reduce_shared``."""

    tag: str
    step: int
    wall_time: float
    payload: bytes
    message: pb.Payload
    chunks: Mapping[int, Sequence[bytes]]
    maps: Mapping[int, memoryview] | None
    rank: int


def is_joined(message: pb.Payload) -> bool:
    """Returns whether a record with this payload can be reduced together with others.

    That is a histogram of few values, over a number of buckets or by a rule.
    """
    if message.WhichOneof("summary") != "histogram" or len(message.tensors) != 1:
        return False
    tensor = message.tensors[0]
    if tensor.dtype not in _DTYPES or len(tensor.shape) > MAX_DIMENSIONS:
        return False
    bins = _bins_of(message.histogram)
    return bins is not None and is_made_together(math.prod(tensor.shape), bins)


def _bins_of(histogram: pb.Histogram) -> EqualWidth | Rule | None:
    """None for edges, and for what is refused."""
    kind = histogram.WhichOneof("bins")
    try:
        if kind == "count":
            return EqualWidth(histogram.count)
        if kind == "rule" and histogram.rule != DEFAULT_BINS:
            return Rule(histogram.rule)
    except InvalidRecordError:
        pass
    return None


def reduce_together(
    records: Sequence[SharedRecord], max_working_bytes: int
) -> list[Partial | SummaryError]:
    """Returns what each of ``records``, which ``is_joined``, contributes to its point."""
    results: list[Partial | SummaryError | None] = [None] * len(records)
    alike: dict[tuple[str, EqualWidth | Rule | None], list[int]] = {}
    arrays: dict[int, NDArray[Any]] = {}
    for at, record in enumerate(records):
        message = record.message
        try:
            with Refusing(record.tag):
                arrays[at], *_ = arrays_of(
                    record.tag, message, record.chunks, max_working_bytes, record.maps
                )
        except SummaryError as error:
            # Its traceback names the tensors, which may lie in a map that is to be let go.
            results[at] = SummaryError(error.reason, str(error))
        else:
            key = message.tensors[0].dtype, _bins_of(message.histogram)
            alike.setdefault(key, []).append(at)
    for (_, bins), places in alike.items():
        if bins is None:
            continue
        found = histograms_of([arrays[at] for at in places], bins)
        for at, histogram in zip(places, found, strict=True):
            if histogram is not None:
                results[at] = Partial.of(records[at].rank, histogram)
    return [
        _alone(record, max_working_bytes) if result is None else result
        for record, result in zip(records, results, strict=True)
    ]


def _alone(record: SharedRecord, max_working_bytes: int) -> Partial | SummaryError:
    try:
        return reduce_shared(
            record.tag,
            record.step,
            record.wall_time,
            record.payload,
            record.chunks,
            max_working_bytes,
            record.maps,
            rank=record.rank,
        )
    except SummaryError as error:
        return SummaryError(error.reason, str(error))
