from __future__ import annotations

import struct

import numpy as np
import pytest
from boardd.events import event, tfrecord
from boardd.events.event_pb2 import Event, SessionLog, Summary, SummaryMetadata
from boardd.events.scalars import encode_scalars
from boardd.events.scan import MAX_RECORDS_AT_ONCE, ScanEnd, scan
from boardd.events.values import image_value, scalar_value
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2

STEPS = [0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63)]


def scalar(step: int = 1, value: float = 0.5, tag: str = "loss", wall_time: float = 1e9) -> bytes:
    return event.summary(wall_time, step, scalar_value(tag, value))


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(STEPS),
            st.floats(width=32),
            st.text(min_size=1, max_size=200),
        ),
        max_size=20,
    )
)
def test_scalars_are_what_was_encoded(rows: list[tuple[float, int, float, str]]) -> None:
    rows = [row for row in rows if _is_text(row[3])]
    data = b"".join(scalar(step, value, tag, time) for time, step, value, tag in rows)
    found = scan(data)
    assert found.records == len(rows)
    assert (found.size_bytes, found.end) == (len(data), ScanEnd.CUT)
    assert found.record.tolist() == list(range(len(rows)))
    assert found.wall_time.tolist() == [row[0] for row in rows]
    assert found.step.tolist() == [row[1] for row in rows]
    assert np.array_equal(found.value, [row[2] for row in rows], equal_nan=True)
    assert [found.tags[tag] for tag in found.tag] == [row[3].encode() for row in rows]
    assert not found.others


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


OTHERS = {
    "version": event.file_version(1e9),
    "image": event.summary(1e9, 1, image_value("i", b"png", 2, 2, 3)),
    "two values": event.summary(1e9, 1, [scalar_value("a", 1), scalar_value("b", 2)]),
    "metadata": event.summary(
        1e9,
        1,
        Summary.Value(
            tag="a",
            simple_value=1,
            metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars")),
        ),
    ),
    "no tag": event.summary(1e9, 1, Summary.Value(simple_value=1)),
    "start": tfrecord.record(
        Event(session_log=SessionLog(status=SessionLog.START)).SerializeToString()
    ),
    "empty": tfrecord.record(b""),
    "unknown field behind": tfrecord.record(
        Event(wall_time=1, summary=Summary(value=[scalar_value("a", 1)])).SerializeToString()
        + b"\x98\xea\x09\x01"
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_events_come_as_they_are(name: str) -> None:
    found = scan(scalar(1) + OTHERS[name] + scalar(2))
    assert found.record.tolist() == [0, 2]
    assert found.others == [(1, OTHERS[name][12:-4])]


@given(st.binary(max_size=80))
def test_any_bytes_are_read_within_their_bounds(data: bytes) -> None:
    """What the loop takes for a scalar is one for protobuf."""
    found = scan(tfrecord.record(data))
    assert found.records == 1
    if len(found.record):
        (value,) = Event.FromString(data).summary.value
        assert value.tag.encode() == found.tags[0]


@given(st.data())
def test_a_scalar_with_a_changed_byte_is_what_protobuf_reads(data: st.DataObject) -> None:
    changed = bytearray(scalar(300, 0.5)[12:-4])
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    found = scan(tfrecord.record(bytes(changed)))
    if len(found.record) and all(byte < 0x80 for byte in found.tags[0]):
        read = event_pb2.Event.FromString(bytes(changed))
        (value,) = read.summary.value
        assert found.step.tolist() == [read.step]
        assert np.array_equal(found.wall_time, [read.wall_time], equal_nan=True)
        assert np.array_equal(found.value, [value.simple_value], equal_nan=True)


def test_a_cut_record_is_told_from_a_damaged_one() -> None:
    whole, last = scalar(1), scalar(2)
    for size_bytes in range(len(last)):
        found = scan(whole + last[:size_bytes])
        assert (found.records, found.size_bytes, found.end) == (1, len(whole), ScanEnd.CUT)
    for at in range(len(last)):
        damaged = bytearray(last)
        damaged[at] ^= 0x40
        found = scan(whole + bytes(damaged))
        assert (found.records, found.size_bytes, found.end) == (1, len(whole), ScanEnd.DAMAGED)


def test_a_length_that_cannot_be_is_no_place_to_read() -> None:
    length = struct.pack("<Q", (1 << 64) - 8)
    data = length + struct.pack("<I", tfrecord.masked_crc32c(length)) + bytes(64)
    assert scan(data).end is ScanEnd.CUT
    assert scan(data).records == 0


def test_many_records_come_in_turns() -> None:
    count = MAX_RECORDS_AT_ONCE + 5
    data = encode_scalars(
        np.ones(count), np.arange(count), np.ones(count), np.zeros(count, np.intp), [b"a"]
    )
    first = scan(data)
    assert (first.records, first.end) == (MAX_RECORDS_AT_ONCE, ScanEnd.FULL)
    second = scan(data[first.size_bytes :])
    assert second.step.tolist() == list(range(MAX_RECORDS_AT_ONCE, count))
