"""Messages are parsed here: a long one in pieces.

Parsing holds the interpreter from its beginning to its end. So what is long is cut between its
fields before: each piece of a serialized message is a message of the same kind, and together
they say what the whole does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

from boardd_protos import boardd_pb2 as pb
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from boardd.core.errors import RequestError

#: A message of up to so many bytes is parsed in one go, whatever is in it.
WHOLE_BYTES: Final = 64 << 10
#: What a longer one is cut into, about.
_PIECE_BYTES: Final = 16 << 10
#: Fields that one piece has at most: many empty ones take as long as a few long ones.
_PIECE_FIELDS: Final = 1024
#: Fields of a long message that cannot be cut, or of a long field of one that can be: with those
#: of the messages in it. Those that clients make have as many as their kinds have.
_MAX_FIELDS: Final = 64

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}

_DEFINITIONS: Final = pb.ClientMessage.DEFINITIONS_FIELD_NUMBER
_REPORT: Final = pb.ClientMessage.REPORT_FIELD_NUMBER

_Kind = TypeVar("_Kind", bound=Message)


class _Field(NamedTuple):
    """Where a field of a serialized message lies: its key, its content, what follows it."""

    number: int
    wire_type: int
    start: int
    content: int
    end: int


def parse(kind: type[_Kind], data: bytes, max_bytes: int = WHOLE_BYTES) -> _Kind:
    """The message in ``data``.

    Raises ``RequestError`` if it has more than ``max_bytes``, or is none of that kind.
    """
    if len(data) > max_bytes:
        raise RequestError(
            f"{kind.DESCRIPTOR.name} of {len(data)} bytes; at most {max_bytes} are taken"
        )
    message: _Kind = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RequestError(f"no {kind.DESCRIPTOR.name}: {error}") from None
    return message


def client_messages(data: bytes) -> Iterator[pb.ClientMessage]:
    """Yields what a stream brought in one message: the message, or pieces that say the same.

    Each takes a millisecond or two. Raises ``RequestError``, also after some of them.
    """
    if len(data) <= WHOLE_BYTES:
        yield parse(pb.ClientMessage, data)
        return
    fields = list(_few(_fields(data)))
    if len(fields) != 1:
        raise RequestError(
            f"a message of {len(data)} bytes with {len(fields)} fields; one is taken"
        )
    only = fields[0]
    if only.number == _DEFINITIONS:
        for definitions in pieces(pb.Definitions, data, only.content, only.end):
            yield pb.ClientMessage(definitions=definitions)
    elif only.number == _REPORT:
        for report in pieces(pb.ClientReport, data, only.content, only.end):
            yield pb.ClientMessage(report=report)
    else:
        _check_content(data, only, pb.ClientMessage.DESCRIPTOR)
        yield parse(pb.ClientMessage, data, len(data))


def pieces(
    kind: type[_Kind], data: bytes, begin: int = 0, end: int | None = None
) -> Iterator[_Kind]:
    """Yields the message in ``data``, between two offsets, as messages that each have a part of it.

    Raises ``RequestError``, also after some of them, if it is none of that kind.
    """
    start, fields = begin, 0
    for field in _fields(data, begin, end):
        if fields and (field.end - start > _PIECE_BYTES or fields >= _PIECE_FIELDS):
            yield parse(kind, data[start : field.start], len(data))
            start, fields = field.start, 0
        if field.end - field.start > _PIECE_BYTES:
            _check_content(data, field, kind.DESCRIPTOR)
        fields += 1
    yield parse(kind, data[start:end], len(data))


def _check_content(data: bytes, field: _Field, kind: Descriptor) -> None:
    """Raises ``RequestError`` for a long field of a ``kind`` that would take long to parse."""
    for _ in _few(_fields_within(data, field, kind)):
        pass


def _fields_within(data: bytes, field: _Field, kind: Descriptor) -> Iterator[_Field]:
    """Yields the fields of the message that ``field`` is, and of those in it; none of bytes."""
    known = kind.fields_by_number.get(field.number)
    if known is None or known.message_type is None or field.wire_type != _BYTES:
        return
    for inner in _fields(data, field.content, field.end):
        yield inner
        yield from _fields_within(data, inner, known.message_type)


def _few(fields: Iterator[_Field]) -> Iterator[_Field]:
    for number, field in enumerate(fields):
        if number >= _MAX_FIELDS:
            raise RequestError(
                f"a long message has more than {_MAX_FIELDS} fields; send less of it"
            )
        yield field


def _fields(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[_Field]:
    """Yields the fields that lie between two offsets. Raises ``RequestError``."""
    at, end = begin, len(data) if end is None else end
    while at < end:
        start = at
        key, at = _varint(data, at, end)
        wire_type = key & 7
        content = at
        if wire_type == _BYTES:
            length, content = _varint(data, at, end)
            at = content + length
        elif wire_type == _VARINT:
            _, at = _varint(data, at, end)
        elif wire_type in _FIXED_BYTES:
            at += _FIXED_BYTES[wire_type]
        else:
            raise RequestError(f"a message that cannot be read at offset {start}")
        if at > end:
            raise RequestError(f"a message whose field at offset {start} is cut off")
        yield _Field(key >> 3, wire_type, start, content, at)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at ``at``, and the offset behind it. Raises ``RequestError``."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise RequestError(f"a message whose number before offset {at} is cut off or too large")
