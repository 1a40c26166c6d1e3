"""Kinds that cannot be added up: what one record shows, kept whole until it is the rank's turn."""

from __future__ import annotations

from collections.abc import Callable

from boardd_protos.invalid import InvalidRecordError
from google.protobuf.message import DecodeError

from boardd.events.event_pb2 import Event
from boardd.events.wire import EncodedValue
from boardd.partials.first import First
from boardd.partials.partial import Mergeable
from boardd.summaries.reduction import ReductionInput, ReductionOutput


def of_first(
    summarize: Callable[[ReductionInput], ReductionOutput],
) -> Callable[[ReductionInput, int], Mergeable]:
    """Returns what makes a rank's contribution of what ``summarize`` shows."""

    def share(source: ReductionInput, rank: int) -> First:
        output = summarize(source)
        # An event without its time and step, which are those of the point.
        event = Event(graph_def=output.graph_def) if output.graph_def else Event()
        for value in output.values:
            if isinstance(value, EncodedValue):
                event.summary.value.add().MergeFromString(value.data)
            else:
                event.summary.value.append(value)
        return First(rank, event.SerializeToString(deterministic=True))

    return share


def present_first(tag: str, step: int, first: First) -> ReductionOutput:
    """What the rank has logged. Raises ``InvalidRecordError`` for content of another kind."""
    try:
        event = Event.FromString(first.content)
    except DecodeError as error:
        raise InvalidRecordError(f"a contribution that cannot be read: {error}") from error
    return ReductionOutput(list(event.summary.value), event.graph_def)
