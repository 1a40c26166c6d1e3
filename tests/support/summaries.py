"""Payloads made by hand, and what the daemon's reductions make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boardd.events.event_pb2 import Event, Summary
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.summarize import summarize
from boardd_protos import boardd_pb2 as pb

from support.tfrecords import unframe

STEP = 7
WALL_TIME = 1.5


def tensor(array: Any) -> pb.Tensor:
    """An array inline in a payload."""
    array = np.asarray(array)
    return pb.Tensor(dtype=array.dtype.name, shape=array.shape, inline=array.tobytes())


def payload(*arrays: Any, **summary: Any) -> pb.Payload:
    """A payload with its tensors and one summary."""
    return pb.Payload(tensors=map(tensor, arrays), **summary)


def reduction(
    message: pb.Payload, *, tag: str = "tag", max_working_bytes: int = 1 << 30
) -> EncodedSummary:
    """What the record is made into."""
    return summarize(tag, STEP, WALL_TIME, message.SerializeToString(), {}, max_working_bytes)


def event_of(made: EncodedSummary) -> Event:
    """The one event, whose step and wall time are the record's."""
    (data,) = unframe(made.event)
    event = Event.FromString(data)
    assert (event.step, event.wall_time) == (STEP, WALL_TIME)
    return event


def values_of(message: pb.Payload, *, tag: str = "tag") -> list[Summary.Value]:
    """The values of its event."""
    return list(event_of(reduction(message, tag=tag)).summary.value)


def check_rejected(message: pb.Payload, reason: int, match: str, **options: Any) -> None:
    """Checks that it is rejected with ``reason``, in words that name the tag and ``match``."""
    with pytest.raises(SummaryError, match=match) as caught:
        reduction(message, **options)
    assert pb.Reason.Name(caught.value.reason) == pb.Reason.Name(reason)
    assert str(caught.value).startswith("tag 'tag': ")
