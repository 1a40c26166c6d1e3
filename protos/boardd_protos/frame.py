"""The frame of one record, the same on the wire and in the ring of a client.

A frame is a 48-byte header, then a payload, then zero bytes up to a multiple
of eight; every integer and float is little-endian::

    offset  type  field
         0  u32   size_bytes     of the whole frame, padding included
         4  u8    kind           a FrameKind
         5  u8    flags          CLAIMED: not complete yet, must not be sent; or PADDING
         6  u16   reserved       zero
         8  u64   sequence       1, 2, 3 ... in one session
        16  i64   step
        24  f64   wall_time      seconds since the epoch
        32  u32   target         id of a SeriesDefinition; of a run for END_RUN
        36  u32   payload_bytes  0 for a scalar
        40  f64   value          the scalar; 0 for other kinds

A scalar's frame is the header alone, so that scalars in a row are an array of
``FRAME_DTYPE`` and need no Python per record. A SUMMARY and SERIES_SUMMARIES carry a
serialized ``Payload`` (boardd.proto).

Frames, not protobuf messages, because a call that logs must cost under a
microsecond and a crashed trainer's ring must be readable from the outside:
packing a header in place costs half a microsecond, building a message and
serializing it several.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np


class FrameKind(enum.IntEnum):
    """What a frame holds. Values are never reused; 5 and 6 are reserved."""

    UNFINISHED = 0  #: in a ring only: still being written, or PADDING
    SCALAR = 1  #: ``value`` is the scalar; no payload
    SUMMARY = 2  #: the payload says what, and describes the tensors
    END_RUN = 3  #: closes the event files of run ``target``
    ABORTED = 4  #: a record lost after it was numbered; payload: UTF-8 reason
    SERIES_SUMMARIES = 7  #: as SUMMARY, of several series: ``target`` is the first of them


#: Flag of a frame whose value or tensors are still being captured.
CLAIMED: Final = 1
#: Flag of bytes of kind UNFINISHED that fill a ring up to its end; only size_bytes holds.
PADDING: Final = 2

HEADER: Final = struct.Struct("<IBBHQqdIId")
HEADER_BYTES: Final = HEADER.size
ALIGNMENT: Final = 8

#: Offsets of what a client writes by itself: the kind last, the others when a value arrives.
KIND_OFFSET: Final = 4
FLAGS_OFFSET: Final = 5
VALUE_OFFSET: Final = 40

FRAME_DTYPE: Final = np.dtype(
    {
        "names": [
            "size_bytes",
            "kind",
            "flags",
            "reserved",
            "sequence",
            "step",
            "wall_time",
            "target",
            "payload_bytes",
            "value",
        ],
        "formats": ["<u4", "u1", "u1", "<u2", "<u8", "<i8", "<f8", "<u4", "<u4", "<f8"],
        "offsets": [0, 4, 5, 6, 8, 16, 24, 32, 36, 40],
        "itemsize": 48,
    }
)


class FrameError(ValueError):
    """Bytes that are no sequence of whole, well-formed frames."""


class Frame(NamedTuple):
    """One decoded frame."""

    kind: int
    flags: int
    sequence: int
    step: int
    wall_time: float
    target: int
    value: float
    payload: bytes


def frame_bytes(payload_bytes: int) -> int:
    """Size of a frame whose payload has ``payload_bytes`` bytes."""
    return HEADER_BYTES + -(-payload_bytes // ALIGNMENT) * ALIGNMENT


def encode(frame: Frame) -> bytes:
    """Returns the bytes of ``frame``.

    Raises ``struct.error`` when a field is out of its type's range.
    """
    size_bytes = frame_bytes(len(frame.payload))
    header = HEADER.pack(
        size_bytes,
        frame.kind,
        frame.flags,
        0,
        frame.sequence,
        frame.step,
        frame.wall_time,
        frame.target,
        len(frame.payload),
        frame.value,
    )
    return (header + frame.payload).ljust(size_bytes, b"\0")


def decode(frames: bytes | memoryview) -> Iterator[Frame]:
    """Yields the frames that lie back to back in ``frames``.

    Raises ``FrameError`` at the first frame that is cut off or whose sizes
    contradict each other; the frames before it have been yielded.
    """
    view = memoryview(frames)
    offset = 0
    while offset < len(view):
        if len(view) - offset < HEADER_BYTES:
            raise FrameError(f"{len(view) - offset} bytes left at offset {offset}, no header")
        size_bytes, kind, flags, _, sequence, step, wall_time, target, payload_bytes, value = (
            HEADER.unpack_from(view, offset)
        )
        if size_bytes != frame_bytes(payload_bytes) or size_bytes > len(view) - offset:
            raise FrameError(
                f"frame at offset {offset}: size {size_bytes}, payload {payload_bytes}, "
                f"{len(view) - offset} bytes left"
            )
        start = offset + HEADER_BYTES
        yield Frame(
            kind,
            flags,
            sequence,
            step,
            wall_time,
            target,
            value,
            bytes(view[start : start + payload_bytes]),
        )
        offset += size_bytes
