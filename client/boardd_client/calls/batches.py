"""How histograms that are logged together become records.

Those of small arrays go into one record, which costs both ends little more than one histogram
does. A large array is a record of its own: so several can be reduced at the same time, and
room is found for one more easily than for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from boardd_protos.limits import (
    DEFAULT_BINS,
    MAX_HISTOGRAMS,
    MAX_HISTOGRAMS_EVENT_BYTES,
)

from boardd_client.calls import payloads
from boardd_client.calls.arguments import Bins
from boardd_client.capture import Tensor
from boardd_client.capture.joined import element_count, joined

#: The size of a large array, and the most that the arrays of one record have together.
LARGE_BYTES: Final = 1 << 20
MAX_TOGETHER_BYTES: Final = 8 << 20

#: Of an event, for each bucket: its limit and its count.
_BUCKET_BYTES: Final = 16
#: Buckets of TensorFlow's edges, and the most that a rule gives.
_DEFAULT_BUCKETS: Final = 1548
_MOST_RULE_BUCKETS: Final = 10_000


@dataclass(frozen=True, eq=False)
class HistogramsRecord:
    """A record of one or more histograms: the payload that describes them, and their values."""

    series: Sequence[int]
    tensors: Sequence[Tensor]
    payload: bytes
    is_several: bool  #: whether the payload names the series


def histogram_records(
    histograms: Sequence[tuple[int, Tensor]], bins: Bins, *, is_each_alone: bool = False
) -> Iterator[HistogramsRecord]:
    """Yields the records of some histograms, each a series and its values.

    ``is_each_alone``: each has one of its own.
    """
    waiting: list[tuple[int, Tensor]] = []
    waiting_bytes = 0
    most = max(1, MAX_HISTOGRAMS_EVENT_BYTES // (_BUCKET_BYTES * _bucket_count(bins)))
    most = min(most, MAX_HISTOGRAMS)
    for one in histograms:
        series, tensor = one
        if is_each_alone or tensor.size_bytes > LARGE_BYTES:
            payload = payloads.histogram(tensor.dtype, tensor.shape, bins)
            yield HistogramsRecord((series,), (tensor,), payload, is_several=False)
            continue
        waiting_bytes += tensor.size_bytes
        if waiting and (len(waiting) == most or waiting_bytes > MAX_TOGETHER_BYTES):
            yield _together(waiting, bins)
            waiting, waiting_bytes = [], tensor.size_bytes
        waiting.append(one)
    if waiting:
        yield _together(waiting, bins)


def _together(histograms: Sequence[tuple[int, Tensor]], bins: Bins) -> HistogramsRecord:
    tensors, order = joined([tensor for _, tensor in histograms])
    series = tuple(histograms[index][0] for index in order)
    sizes = tuple(element_count(histograms[index][1]) for index in order)
    shapes = tuple((tensor.dtype, tensor.shape) for tensor in tensors)
    payload = payloads.histograms(shapes, series, sizes, bins)
    return HistogramsRecord(series, tensors, payload, is_several=True)


def _bucket_count(bins: Bins) -> int:
    if bins.rule:
        return _DEFAULT_BUCKETS if bins.rule == DEFAULT_BINS else _MOST_RULE_BUCKETS
    return bins.count or len(bins.edges)
