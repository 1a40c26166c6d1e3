"""What tells TensorBoard that the points of a run from some step on are out of date.

Its two loaders have nothing in common here:

- The Python loader takes the first SessionLog START of a run for the run's beginning. At
  each later one it discards what all tags have at that step and after. So there are two.
- tensorboard-data-server passes SessionLogs over. A value evicts the points of its own tag
  at its step and after, so each tag gets one that is never shown: a field which TensorFlow
  gave up, ``obsolete_old_style_histogram``, without content. The Python loader ignores it.
  It has no metadata, with which the Python loader would take it for a series of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from boardd.events.event import checked_wall_time
from boardd.events.event_pb2 import Event, SessionLog
from boardd.events.tfrecord import record
from boardd.events.wire import varint

#: Tags of one event.
TAGS_PER_EVENT: Final = 1000

#: Of Event's field ``summary``, Summary's field ``value`` and Value's field ``tag``, whose
#: wire type is 2.
_SUMMARY_TAG: Final = b"\x2a"
_VALUE_TAG: Final = b"\x0a"
_TAG_TAG: Final = b"\x0a"
#: Value's field 3, without content.
_NOTHING: Final = b"\x1a\x00"


def purge(wall_time: float, step: int, tags: Sequence[bytes]) -> list[bytes]:
    """The events after which nothing is shown at ``step`` and later, as encoded records.

    ``tags`` are all of the run.

    Raises ``ValueError`` on a ``wall_time`` that is not finite or a step out of range.
    """
    time = checked_wall_time(wall_time)
    start = Event(wall_time=time, step=step, session_log=SessionLog(status=SessionLog.START))
    head = Event(wall_time=time, step=step).SerializeToString()
    events = [record(start.SerializeToString())] * 2
    for begin in range(0, len(tags), TAGS_PER_EVENT):
        values = b"".join(map(_value, tags[begin : begin + TAGS_PER_EVENT]))
        events.append(record(head, _SUMMARY_TAG, varint(len(values)), values))
    return events


def _value(tag: bytes) -> bytes:
    length = varint(len(tag))
    size_bytes = len(_TAG_TAG) + len(length) + len(tag) + len(_NOTHING)
    return b"".join((_VALUE_TAG, varint(size_bytes), _TAG_TAG, length, tag, _NOTHING))
