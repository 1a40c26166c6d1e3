"""Exact content: what an event file rounds, kept beside what it shows.

A file has a scalar as float32, and a histogram's sums rounded. That of one rank of several
also has, in fields of Event that readers pass over (``exact.proto``), what a merge over the
ranks starts from. A scalar has it only if the float32 is rounded.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from boardd.events.exact_pb2 import Exact, ExactSummary
from boardd.events.tfrecord import FOOTER_BYTES, HEADER_BYTES, record
from boardd.events.wire import varint

#: Of the fields of ``Exact``, whose wire types are 1 and 2.
SCALAR_TAG: Final = varint(20112 << 3 | 1)
SUMMARY_TAG: Final = varint(20113 << 3 | 2)
_SCALAR: Final = struct.Struct("<d")
#: What an exact scalar takes.
SCALAR_BYTES: Final = len(SCALAR_TAG) + _SCALAR.size


class ExactPartial(NamedTuple):
    """A summary's tag as it was logged, and its encoded partial."""

    tag: bytes
    partial: bytes


def with_scalar(encoded: bytes, value: float) -> bytes:
    """Returns the encoded record of an event with one scalar, with its exact ``value``."""
    return record(_data(encoded), SCALAR_TAG, _SCALAR.pack(value))


def with_partial(encoded: bytes, exact: ExactPartial) -> bytes:
    """Returns the encoded record of an event with a summary, with ``exact``."""
    data = ExactSummary(tag=exact.tag, partial=exact.partial).SerializeToString()
    return record(_data(encoded), SUMMARY_TAG, varint(len(data)), data)


def scalar_of(event: bytes) -> float | None:
    """Returns the exact scalar of a serialized event, None if it has none."""
    if SCALAR_TAG not in event:
        return None
    exact = _exact(event)
    return exact.scalar if exact is not None and exact.HasField("scalar") else None


def partial_of(event: bytes) -> ExactPartial | None:
    """Returns the exact summary of a serialized event, None if it has none."""
    if SUMMARY_TAG not in event:
        return None
    exact = _exact(event)
    if exact is None or not exact.HasField("summary"):
        return None
    return ExactPartial(exact.summary.tag, exact.summary.partial)


def _data(encoded: bytes) -> bytes:
    return encoded[HEADER_BYTES:-FOOTER_BYTES]


def _exact(event: bytes) -> Exact | None:
    exact = Exact()
    try:
        exact.ParseFromString(event)
    except DecodeError:
        return None
    return exact
