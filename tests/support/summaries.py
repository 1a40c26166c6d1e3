"""Payloads made by hand, and what the daemon's reductions make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from boardd.events.event_pb2 import Event, Summary
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.summarize import summarize
from boardd_protos import boardd_pb2 as pb

from support.tfrecords import read_records

STEP = 7
WALL_TIME = 1.5


class Record(NamedTuple):
    """A payload, and the data of its tensors, which travels apart from it."""

    payload: pb.Payload
    arrays: Sequence[np.ndarray] = ()


def record(*arrays: Any, **summary: Any) -> Record:
    """A payload that describes ``arrays`` and has one summary, and their data."""
    data = [np.asarray(array) for array in arrays]
    tensors = [pb.Tensor(dtype=array.dtype.name, shape=array.shape) for array in data]
    return Record(pb.Payload(tensors=tensors, **summary), data)


def chunks(*arrays: np.ndarray, chunk_bytes: int = 1 << 20) -> dict[int, list[bytes]]:
    """The data of tensors by their index, as it comes by value."""
    found: dict[int, list[bytes]] = {}
    for number, array in enumerate(arrays):
        data = array.tobytes()
        found[number] = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    return found


def reduction(
    given: Record, *, tag: str = "tag", max_working_bytes: int = 1 << 30
) -> EncodedSummary:
    """What the record is made into."""
    payload = given.payload.SerializeToString()
    return summarize(tag, STEP, WALL_TIME, payload, chunks(*given.arrays), max_working_bytes)


def event_of(made: EncodedSummary) -> Event:
    """The one event, whose step and wall time are the record's."""
    (data,) = read_records(made.event)
    event = Event.FromString(data)
    assert (event.step, event.wall_time) == (STEP, WALL_TIME)
    return event


def values_of(given: Record, *, tag: str = "tag") -> list[Summary.Value]:
    """The values of its event."""
    return list(event_of(reduction(given, tag=tag)).summary.value)


def check_rejected(given: Record, reason: int, match: str, **options: Any) -> None:
    """Checks that it is rejected with ``reason``, in words that name the tag and ``match``."""
    with pytest.raises(SummaryError, match=match) as caught:
        reduction(given, **options)
    assert pb.Reason.Name(caught.value.reason) == pb.Reason.Name(reason)
    assert str(caught.value).startswith("tag 'tag': ")
