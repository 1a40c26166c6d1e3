"""How histograms that are logged together become records.

Those of small arrays go into one record, which costs both ends little more than one histogram
does. A large array is a record of its own: so several can be reduced at the same time, and
room is found for one more easily than for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

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
#: Bytes of the names of one record's arrays: with edges, they must fit its payload.
MAX_NAMES_BYTES: Final = 256 << 10

#: Of an event, for each bucket: its limit and its count.
_BUCKET_BYTES: Final = 16
#: Buckets of TensorFlow's edges, and the most that a rule gives.
_DEFAULT_BUCKETS: Final = 1548
_MOST_RULE_BUCKETS: Final = 10_000


@dataclass(frozen=True)
class Watched:
    """Arrays that are logged one with another: those that cannot be are left out."""

    #: Begins the tags under which their health is shown; empty: it is not.
    health_tag: str = ""
    #: What an array is called there, as group/name, by the tag of its histogram.
    names: Mapping[str, str] = field(default_factory=dict)
    #: Receives why an array cannot be logged, by its tag.
    refused: dict[str, Exception] = field(default_factory=dict)


class Histogram(NamedTuple):
    """A series and its values, and what these are called in the health."""

    series: int
    tensor: Tensor
    name: str = ""


@dataclass(frozen=True, eq=False)
class HistogramsRecord:
    """A record of one or more histograms: the payload that describes them, and their values."""

    series: Sequence[int]
    tensors: Sequence[Tensor]
    payload: bytes
    names: tuple[str, ...]
    #: Of each histogram in ``tensors``; none if it is one with a tensor of its own, as the
    #: payload does not name the series then.
    sizes: tuple[int, ...] = ()


def histogram_records(
    histograms: Sequence[Histogram],
    bins: Bins,
    *,
    is_each_alone: bool = False,
    health_tag: str = "",
    missing: int = 0,
) -> list[HistogramsRecord]:
    """Returns the records of the histograms of one step.

    ``is_each_alone``: each has one of its own. ``health_tag`` as of ``Watched``: each record
    says then which one it is, of these and ``missing`` that cannot come. Those are the first,
    so that the last one says that the step is over.
    """
    records = list(_records(histograms, bins, is_each_alone))
    if not health_tag:
        return records
    parts = len(records) + missing
    return [
        replace(
            one,
            payload=one.payload + payloads.health(health_tag, one.names, one.sizes, part, parts),
        )
        for part, one in enumerate(records, start=missing)
    ]


def _records(
    histograms: Sequence[Histogram], bins: Bins, is_each_alone: bool
) -> Iterator[HistogramsRecord]:
    waiting: list[Histogram] = []
    waiting_bytes = names_bytes = 0
    most = max(1, MAX_HISTOGRAMS_EVENT_BYTES // (_BUCKET_BYTES * _bucket_count(bins)))
    most = min(most, MAX_HISTOGRAMS)
    for one in histograms:
        tensor = one.tensor
        if is_each_alone or tensor.size_bytes > LARGE_BYTES:
            payload = payloads.histogram(tensor.dtype, tensor.shape, bins)
            yield HistogramsRecord((one.series,), (tensor,), payload, (one.name,))
            continue
        name_bytes = len(one.name.encode())
        waiting_bytes += tensor.size_bytes
        names_bytes += name_bytes
        is_full = waiting_bytes > MAX_TOGETHER_BYTES or names_bytes > MAX_NAMES_BYTES
        if waiting and (is_full or len(waiting) == most):
            yield _together(waiting, bins)
            waiting, waiting_bytes, names_bytes = [], tensor.size_bytes, name_bytes
        waiting.append(one)
    if waiting:
        yield _together(waiting, bins)


def _together(histograms: Sequence[Histogram], bins: Bins) -> HistogramsRecord:
    tensors, order = joined([one.tensor for one in histograms])
    series = tuple(histograms[index].series for index in order)
    sizes = tuple(element_count(histograms[index].tensor) for index in order)
    names = tuple(histograms[index].name for index in order)
    shapes = tuple((tensor.dtype, tensor.shape) for tensor in tensors)
    payload = payloads.histograms(shapes, series, sizes, bins)
    return HistogramsRecord(series, tensors, payload, names, sizes)


def _bucket_count(bins: Bins) -> int:
    if bins.rule:
        return _DEFAULT_BUCKETS if bins.rule == DEFAULT_BINS else _MOST_RULE_BUCKETS
    return bins.count or len(bins.edges)
