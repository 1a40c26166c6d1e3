"""Events as encoded records, ready to be appended to an event file.

``wall_time`` is in seconds since the epoch and must be finite: TensorBoard's
data server gives up on a file for good at an event whose wall time is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from boardd.events.event_pb2 import Event, Summary
from boardd.events.tfrecord import record
from boardd.events.wire import EncodedValue, varint

#: First event of every file. Source: EventsWriter in
#: tensorflow/core/util/events_writer.h.
FILE_VERSION: Final = "brain.Event:2"

#: Who wrote a file, as TensorBoard reports it.
SOURCE_WRITER: Final = "boardd"

#: Of Event's field ``summary`` and Summary's field ``value``, whose wire type is 2.
_SUMMARY_TAG: Final = b"\x2a"
_VALUE_TAG: Final = b"\x0a"


def file_version(wall_time: float) -> bytes:
    """The event that opens a file. Raises ``ValueError`` on a bad ``wall_time``."""
    event = Event(wall_time=checked_wall_time(wall_time), file_version=FILE_VERSION)
    event.source_metadata.writer = SOURCE_WRITER
    return record(event.SerializeToString())


def summary(
    wall_time: float,
    step: int,
    value: Summary.Value | EncodedValue | Iterable[Summary.Value | EncodedValue],
) -> bytes:
    """An event with one or more summary values at ``step``, an int64.

    Raises ``ValueError`` on a ``wall_time`` that is not finite or a step out
    of range.
    """
    values = (value,) if isinstance(value, (Summary.Value, EncodedValue)) else value
    # By hand, since a message would be made of each encoded value and encoded again.
    fields: list[bytes] = []
    for one in values:
        data = one.data if isinstance(one, EncodedValue) else one.SerializeToString()
        fields += (_VALUE_TAG + varint(len(data)), data)
    summary_bytes = sum(map(len, fields))
    event = Event(wall_time=checked_wall_time(wall_time), step=step)
    return record(event.SerializeToString() + _SUMMARY_TAG + varint(summary_bytes), *fields)


def graph(wall_time: float, step: int, graph_def: bytes) -> bytes:
    """A run's graph: ``graph_def`` is a serialized GraphDef. A run shows its last one.

    Raises ``ValueError`` on a ``wall_time`` that is not finite or a step out
    of range.
    """
    event = Event(wall_time=checked_wall_time(wall_time), step=step, graph_def=graph_def)
    return record(event.SerializeToString())


def checked_wall_time(wall_time: float) -> float:
    """Returns ``wall_time``; raises ``ValueError`` unless it is finite."""
    if not math.isfinite(wall_time):
        raise ValueError(f"wall_time {wall_time!r} is not finite; a reader would drop the file")
    return wall_time
