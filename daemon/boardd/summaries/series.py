"""One record with a summary of each of several series: histograms, made together.

What each series shows is what a record of its own would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from boardd_protos.limits import MAX_TENSORS
from boardd_protos.summary_kind import SummaryKind
from numpy.typing import NDArray

from boardd.events.wire import EncodedValue
from boardd.reduce.histogram.many import histograms
from boardd.summaries.distributions import bins_of, shown_histogram
from boardd.summaries.health import HealthPart, health_part
from boardd.summaries.payload_arrays import arrays_of
from boardd.summaries.summarize import Refusing

#: What the objects of a value take beside its bytes.
_VALUE_BYTES: Final = 256


@dataclass(frozen=True, eq=False)
class SeriesSummaries:
    """What each series of a record shows: its values, in the order of the series.

    And what the record tells of the health of the series' arrays, if it does.
    """

    values: Sequence[Sequence[EncodedValue]]
    health: HealthPart | None = None

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return sum(_VALUE_BYTES + len(value.data) for values in self.values for value in values)


def summarize_series(
    tags: Sequence[str],
    payload: bytes,
    chunks: Mapping[int, Sequence[bytes]],
    max_working_bytes: int,
    maps: Mapping[int, memoryview] | None = None,
) -> SeriesSummaries:
    """Returns what the series of one record show under ``tags``.

    The other arguments and the errors are those of ``summarize``.
    """
    with Refusing(tags[0]):
        message = pb.Payload.FromString(payload)
        if not 1 <= len(message.tensors) <= MAX_TENSORS:
            raise InvalidTensorError(
                f"{len(message.tensors)} tensors; histograms have 1 to {MAX_TENSORS}"
            )
        arrays = arrays_of(tags[0], message, chunks, max_working_bytes, maps)
        bins = bins_of(message.histograms.bins)
        names = iter(tags)
        values = [
            tuple(_encoded(shown_histogram(next(names), found).values))
            for array, sizes in _parted(arrays, list(message.histograms.sizes))
            for found in histograms(array, sizes, bins)
        ]
        if len(values) != len(tags):
            raise InvalidRecordError(f"{len(values)} histograms of {len(tags)} series")
        health = health_part(message.health, arrays) if message.HasField("health") else None
        return SeriesSummaries(values, health)


def _parted(
    arrays: Sequence[NDArray[Any]], sizes: Sequence[int]
) -> Iterator[tuple[NDArray[Any], Sequence[int]]]:
    """Yields each array with the sizes of the parts that it has, in order."""
    at = 0
    for number, array in enumerate(arrays):
        if array.ndim != 1:
            raise InvalidTensorError(f"values of shape {array.shape}; histograms take [n]")
        begin, size = at, 0
        is_last = number == len(arrays) - 1
        while at < len(sizes) and (size < array.size or is_last):
            size += sizes[at]
            at += 1
        if size != array.size:
            raise InvalidTensorError(
                f"parts of {size} values in a tensor of {array.size}; give the size of each"
            )
        yield array, sizes[begin:at]


def _encoded(values: Sequence[Any]) -> Iterator[EncodedValue]:
    for value in values:
        if isinstance(value, EncodedValue):
            yield value
        else:  # the number of values that are not finite
            yield EncodedValue(value.tag.encode(), SummaryKind.SCALAR, value.SerializeToString())
