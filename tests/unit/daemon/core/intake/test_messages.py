"""Long messages are parsed in pieces, which say what the whole does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from boardd.core.errors import RequestError
from boardd.core.intake.messages import WHOLE_BYTES, client_messages, parse
from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import DEFAULT_MESSAGE_BYTES

#: CPU time of one piece at most, in seconds.
MAX_PIECE_SECS = 0.02
ATTEMPTS = 3


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, as a peer writes it that uses no Protobuf."""
    length, varint = len(content), b""
    while length > 0x7F:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + varint + bytes([length]) + content


def full(number: int, entry: bytes) -> bytes:
    """A message as long as may be, all of whose content is ``entry`` again and again."""
    return field(number, entry * ((DEFAULT_MESSAGE_BYTES - 16) // len(entry)))


DEFINITIONS = pb.ClientMessage.DEFINITIONS_FIELD_NUMBER
RECORDS = pb.ClientMessage.RECORDS_FIELD_NUMBER
ANCESTOR = pb.RunDefinition.ANCESTOR_FIELD_NUMBER
REPORT = pb.ClientMessage.REPORT_FIELD_NUMBER
SERIES = pb.SeriesDefinition(series=100_000, run=1, tag="123456").SerializeToString()
DROP = pb.DropCount(reason="full", records=1, run=1).SerializeToString()
#: The longest messages, of entries as small as may be: each takes longer than a turn to parse.
LONGEST = {
    "series": full(DEFINITIONS, field(2, SERIES)),
    "runs of nothing": full(DEFINITIONS, field(1, b"")),
    "drops": full(REPORT, field(1, DROP)),
    "what nobody knows": full(DEFINITIONS, b"\x78\x01"),
    "bytes of frames": field(RECORDS, field(1, bytes(DEFAULT_MESSAGE_BYTES - 16))),
}


def taken(message: bytes) -> tuple[float, int]:
    """The longest that one piece took, in seconds, and how many there were."""
    longest_secs, count, begun = 0.0, 0, time.thread_time()
    for count, _ in enumerate(client_messages(message), 1):  # noqa: B007
        longest_secs = max(longest_secs, time.thread_time() - begun)
        begun = time.thread_time()
    return longest_secs, count


@pytest.mark.parametrize("what", LONGEST)
def test_no_piece_of_a_long_message_takes_long(what: str) -> None:
    message = LONGEST[what]
    assert DEFAULT_MESSAGE_BYTES - 32 <= len(message) <= DEFAULT_MESSAGE_BYTES
    assert min(taken(message)[0] for _ in range(ATTEMPTS)) < MAX_PIECE_SECS


def merged(messages: Iterator[pb.ClientMessage]) -> pb.ClientMessage:
    whole = pb.ClientMessage()
    for message in messages:
        whole.MergeFrom(message)
    return whole


def test_the_pieces_say_what_the_whole_does() -> None:
    long_name = "n" * (2 * WHOLE_BYTES)
    definitions = pb.Definitions(
        runs=[
            pb.RunDefinition(run=1, logdir="a"),
            pb.RunDefinition(run=2, logdir=long_name, ancestor=pb.Directory(path=long_name)),
        ],
        series=[pb.SeriesDefinition(series=one, run=1, tag=f"{one:0100}") for one in range(3000)],
    )
    dropped = [pb.DropCount(reason=f"{one:0100}", records=one) for one in range(3000)]
    for message in (
        pb.ClientMessage(definitions=definitions),
        pb.ClientMessage(report=pb.ClientReport(dropped=dropped)),
        pb.ClientMessage(records=pb.Records(frames=bytes(1 << 20), sparse=True)),
        pb.ClientMessage(chunk=pb.TensorChunk(sequence=1 << 40, data=bytes(1 << 20))),
        pb.ClientMessage(definitions=pb.Definitions()),
    ):
        assert merged(client_messages(message.SerializeToString())) == message
    assert (
        len(list(client_messages(pb.ClientMessage(definitions=definitions).SerializeToString())))
        > 10
    )


def test_what_a_later_client_says_is_left_unread() -> None:
    definitions = field(DEFINITIONS, field(9, b"\xff" * 2 * WHOLE_BYTES))
    assert merged(client_messages(definitions)).HasField("definitions")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (field(RECORDS, b"") * WHOLE_BYTES, "more than 64 fields"),
        (field(RECORDS, field(1, b"x") * WHOLE_BYTES), "more than 64 fields"),
        (field(DEFINITIONS, field(1, b"\x78\x01" * WHOLE_BYTES)), "more than 64 fields"),
        (
            field(DEFINITIONS, field(1, field(ANCESTOR, b"\x78\x01" * WHOLE_BYTES))),
            "more than 64 fields",
        ),
        (
            field(DEFINITIONS, field(1, field(ANCESTOR, field(1, b"d" * 999) * 2) * 60)),
            "more than 64 fields",
        ),
        (field(RECORDS, bytes(WHOLE_BYTES)) + field(RECORDS, b""), "with 2 fields"),
        (field(DEFINITIONS, field(2, SERIES) * WHOLE_BYTES)[:-1], "is cut off"),
        (field(DEFINITIONS, field(2, SERIES) * WHOLE_BYTES + b"\x12"), "is cut off"),
        (field(DEFINITIONS, b"\x0b" * WHOLE_BYTES * 2), "cannot be read"),
        (field(DEFINITIONS, field(1, field(2, b"\xff")) * WHOLE_BYTES), "no Definitions"),
        (b"\xff" * WHOLE_BYTES, "no ClientMessage"),
        (b"\xff" * 2 * WHOLE_BYTES, "cut off or too large"),
    ],
)
def test_what_would_take_long_or_is_no_message_is_refused(message: bytes, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        list(client_messages(message))


def test_requests_are_bounded() -> None:
    request = pb.FlushRequest(runs=range(1 << 16)).SerializeToString()
    with pytest.raises(RequestError, match=f"at most {WHOLE_BYTES} are taken"):
        parse(pb.FlushRequest, request)
    assert parse(pb.FlushRequest, request, len(request)).runs[-1] == (1 << 16) - 1
