"""An event file read by hand, so that what boardd writes is judged by none of its own code.

A record is a u64 length, the masked CRC-32C of that, the data, and the masked CRC-32C of
the data. What it holds is taken apart as protobuf's wire format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c


class Value(NamedTuple):
    """A summary value: its tag, and the number of the field that holds it."""

    tag: str
    field: int
    simple_value: float  #: 0.0 unless it is a scalar


class ReadEvent(NamedTuple):
    """What of an event counts here."""

    wall_time: float | None
    step: int
    values: list[Value]
    fields: frozenset[int]  #: the numbers of all its fields


def records(data: bytes) -> Iterator[bytes]:
    """Yields what each record holds, up to the first that is torn or damaged."""
    at = 0
    while at + 16 <= len(data):
        length, checksum = struct.unpack_from("<QI", data, at)
        if _masked(data[at : at + 8]) != checksum or at + 16 + length > len(data):
            return
        found = data[at + 12 : at + 12 + length]
        if _masked(found) != struct.unpack_from("<I", data, at + 12 + length)[0]:
            return
        yield found
        at += 16 + length


def events(path: Path) -> Iterator[ReadEvent]:
    """Yields the events of one file, marks included."""
    for data in records(path.read_bytes()):
        wall_time, step = None, 0
        values: list[Value] = []
        numbers = set()
        for number, content in fields(data):
            numbers.add(number)
            if number == 1:
                (wall_time,) = struct.unpack("<d", _bytes(content))
            elif number == 2:
                step = _signed(content)
            elif number == 5:
                values += [_value(_bytes(one)) for field, one in fields(_bytes(content))]
        yield ReadEvent(wall_time, step, values, frozenset(numbers))


def run_events(run: Path) -> list[ReadEvent]:
    """The events of a run that show something, file after file as TensorBoard reads them."""
    paths = sorted(path for path in run.iterdir() if "tfevents" in path.name)
    return [event for path in paths for event in events(path) if event.values]


def points(run: Path, tag: str) -> list[tuple[int, float]]:
    """Step and value of a scalar's points, in the order in which they were written."""
    return [
        (event.step, value.simple_value)
        for event in run_events(run)
        for value in event.values
        if value.tag == tag
    ]


def _value(data: bytes) -> Value:
    tag, field, simple = "", 0, 0.0
    for number, content in fields(data):
        if number == 1:
            tag = _bytes(content).decode()
        elif number in (2, 4, 5, 6, 8):
            field = number
            if number == 2:
                (simple,) = struct.unpack("<f", _bytes(content))
    return Value(tag, field, simple)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[kind]
        assert at + size <= len(data), "a field is cut off"
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _bytes(content: int | bytes) -> bytes:
    assert isinstance(content, bytes)
    return content


def _signed(content: int | bytes) -> int:
    assert isinstance(content, int)
    return content - (1 << 64) if content >> 63 else content


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
