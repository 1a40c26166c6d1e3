"""Marks: which records the events of a file are, for the daemon that comes next.

A mark is an Event that shows nothing: a wall time, and in a field that readers do not
know a ``Batch`` (``marks.proto``). It stands before the events of its batch. So after a
torn write, the number of whole events behind the last mark says which records are in the
file. The wall time must be there: TensorBoard's data server takes the first it reads for
the start of the run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from boardd.events.event import checked_wall_time
from boardd.events.marks_pb2 import Batch
from boardd.events.tfrecord import record
from boardd.events.wire import varint

#: Of Event's field ``wall_time``, whose wire type is 1.
_WALL_TIME_TAG: Final = b"\x09"
_WALL_TIME: Final = struct.Struct("<d")
#: Of the field that holds a Batch, whose wire type is 2.
BATCH_TAG: Final = varint(20111 << 3 | 2)
#: Where it stands in a mark's data.
BATCH_TAG_OFFSET: Final = len(_WALL_TIME_TAG) + _WALL_TIME.size

#: Of Batch's field ``offset``, whose wire type is 1.
_OFFSET_TAG: Final = b"\x19"
_OFFSET: Final = struct.Struct("<Q")


class Part(NamedTuple):
    """Events of one session: the sequence number of the record of each, ascending.

    ``session`` is its key in marks. It is empty for events that belong to none; their
    numbers mean nothing. ``dropped`` are the records by reason that its client dropped by
    now, if the event tells of them.
    """

    session: bytes
    sequences: npt.NDArray[np.uint64]
    dropped: Mapping[str, int] = MappingProxyType({})


def mark(wall_time: float, batch: Batch) -> bytes:
    """Returns the encoded record that tells ``batch``. Raises ``ValueError`` as an event does."""
    return _mark(wall_time, batch.SerializeToString())


def mark_of_runs(wall_time: float, parts: Iterable[tuple[int, Sequence[int]]]) -> bytes:
    """As ``mark``, of parts of sessions with numbers, each with its ``runs``, and nothing else.

    Most marks are like that, and a message takes ten times as long.
    """
    data = bytearray()
    for known, runs in parts:
        numbers = _packed(runs)
        entry = b"\x10" + _packed((known,)) + b"\x1a" + _packed((len(numbers),)) + numbers
        data += b"\x12" + _packed((len(entry),)) + entry
    return _mark(wall_time, bytes(data))


def _packed(numbers: Iterable[int]) -> bytes:
    """Varints back to back; not those of ``wire``, which keeps what comes again."""
    packed = bytearray()
    for number in numbers:
        while number >= 0x80:
            packed.append(number & 0x7F | 0x80)
            number >>= 7
        packed.append(number)
    return bytes(packed)


def _mark(wall_time: float, data: bytes) -> bytes:
    return record(
        _WALL_TIME_TAG,
        _WALL_TIME.pack(checked_wall_time(wall_time)),
        BATCH_TAG,
        varint(len(data)),
        data,
    )


def told_offset(offset: int) -> bytes:
    """Returns the field ``Batch.offset`` as a mark at ``offset`` has it if it tells all."""
    return _OFFSET_TAG + _OFFSET.pack(offset)


def is_mark(data: bytes, start: int = 0) -> bool:
    """Whether the event that begins at ``start`` of ``data`` is a mark."""
    return data.startswith(_WALL_TIME_TAG, start) and data.startswith(
        BATCH_TAG, start + BATCH_TAG_OFFSET
    )


def batch_of(data: bytes) -> Batch:
    """Returns what a mark tells. Raises ``ValueError`` if that cannot be read."""
    at = BATCH_TAG_OFFSET + len(BATCH_TAG)
    while at < len(data) and data[at] >= 0x80:
        at += 1
    batch = Batch()
    try:
        batch.ParseFromString(data[at + 1 :])
    except Exception as error:  # DecodeError, which protobuf's versions place differently
        raise ValueError(f"a mark that cannot be read: {error}") from error
    return batch


def runs_of(sequences: npt.NDArray[np.uint64]) -> list[int]:
    """Returns ascending numbers, at least one, as ``Part.runs`` has them."""
    lowest, count = int(sequences[0]), len(sequences)
    if int(sequences[-1]) - lowest == count - 1:
        return [lowest - 1, count]
    begins = np.flatnonzero(np.diff(sequences) != 1) + 1
    edges = np.concatenate(([0], begins, [len(sequences)]))
    first = sequences[edges[:-1]].astype(np.int64)
    last = sequences[edges[1:] - 1].astype(np.int64)
    runs = np.empty(2 * len(first), np.int64)
    runs[0::2] = first - np.concatenate(([0], last[:-1])) - 1
    runs[1::2] = last - first + 1
    return list(runs.tolist())


def events_in(runs: Iterable[int]) -> int:
    """Returns how many events a part with ``runs`` has."""
    return sum(list(runs)[1::2])


def sequence_after(runs: Iterable[int], events: int) -> int:
    """Returns the number of the record that is number ``events``, from 1, of ``runs``."""
    at = 0
    for passed_over, records in _pairs(runs):
        at += passed_over
        if events <= records:
            return at + events
        at += records
        events -= records
    raise ValueError("a part has fewer events")


def _pairs(runs: Iterable[int]) -> Iterator[tuple[int, int]]:
    values: list[Any] = list(runs)
    return zip(values[0::2], values[1::2], strict=False)
