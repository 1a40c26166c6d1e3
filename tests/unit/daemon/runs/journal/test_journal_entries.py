from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from boardd.core.groups.entries import (
    Attempt,
    Began,
    Closed,
    Dropped,
    Entry,
    Joined,
    Left,
    Rewound,
    Scalars,
    State,
    Summary,
    Tag,
    Tags,
    Told,
)
from boardd.partials import codec
from boardd.partials.first import First
from boardd.partials.histograms import histogram_of
from boardd.partials.partial import Partial
from boardd.reduce.histogram.bins import EqualWidth
from boardd.runs.journal import journal_pb2 as pb
from boardd.runs.journal.journal_entries import (
    JournalError,
    Opening,
    decode_entry,
    decode_opening,
    encode_entry,
    encode_opening,
)
from support.tfrecords import read_records

SESSION = bytes(range(16))
LAST = (1 << 63) - 1
ATTEMPT = Attempt((1 << 64) - 1, "laufen-é", -3)
JOINED = Joined(SESSION, 3, ATTEMPT, 4, "host", 1234, True)
NAN = np.array([0x7FF8_0000_0000_1234], np.uint64).view(np.float64)[0]


MERGED = Partial.of(3, histogram_of(np.arange(100.0), EqualWidth(10))).merge(
    Partial.of(1, histogram_of(np.array([np.nan, 7.0]), EqualWidth(10)))
)


def columns(rows: int, step: np.ndarray) -> Scalars:
    return Scalars(
        SESSION,
        np.arange(rows, dtype=np.intp) * 7,
        step.astype(np.int64),
        np.linspace(1.7e9, 1.8e9, rows),
        np.resize([NAN, np.inf, -np.inf, -0.0, 5e-324, 1.5], rows),
    )


def state() -> State:
    return State(
        Began(SESSION, 8),
        ATTEMPT,
        Tags(0, (Tag(b"loss", "scalar", "mean"), Tag("\xff".encode(), "histogram", ""))),
        (JOINED, dataclasses.replace(JOINED, rank=0, has_siblings=False)),
        {"late": LAST, "least": -LAST - 1, "none": 0},
        {
            "matrix": np.arange(12).reshape(3, 4)[:, ::2],
            "real": np.array([[NAN, -0.0]]),
            "flags": np.array([True, False]),
            "empty": np.zeros((0, 5)),
            "scalar": np.array(2.5),
        },
    )


ENTRIES: list[Entry] = [
    Began(SESSION, 1 << 40),
    JOINED,
    Left(SESSION),
    Tags(0, ()),
    Tags(7, (Tag(b"loss", "scalar", "mean"), Tag("\xff\0".encode(), "image", "last"))),
    columns(0, np.array([])),
    columns(1, np.array([-LAST - 1])),
    columns(6, np.full(6, LAST)),
    columns(6, np.arange(6) - 3),
    Summary(SESSION, 0, -5, -1.5, Partial.of(2, First(2, b""))),
    Summary(SESSION, 1 << 31, LAST, 1.7e9, MERGED),
    Rewound(ATTEMPT, -1),
    Rewound(ATTEMPT, 7, SESSION, is_own=True),
    replace(JOINED, relayed_by=SESSION, per_rank="all", series="../rank_3/curve"),
    Closed(1, np.array([3]), np.array([0]), np.array([9], np.intp)),
    Closed(LAST, np.array([3, 3]), np.array([1, 1]), np.array([2, 2], np.intp)),
    Closed(5, np.array([3, -4]), np.array([0, 1]), np.array([2, 0], np.intp)),
    Closed(5, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.intp)),
    Told(4, "| rank |\n", -8, 2.5),
    Dropped(SESSION, {}, 0, 0.0),
    Dropped(SESSION, {"log_full": LAST - 1, "ä": 1}, -3, 1.5),
    state(),
    State(Began(b"", 0), None, Tags(0, ()), (), {}, {}),
]


def check_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, Partial):
        assert codec.encode(one) == codec.encode(other)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            check_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            check_equal(one[name], other[name])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            check_equal(mine, theirs)
    else:
        assert one == other


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    (data,) = read_records(encode_entry(entry))
    check_equal(decode_entry(data), entry)


def test_a_column_of_equal_numbers_is_short() -> None:
    same, other = columns(1000, np.full(1000, 5)), columns(1000, np.arange(1000))
    assert len(encode_entry(other)) - len(encode_entry(same)) >= 999 * 8


def test_the_arrays_of_a_state_may_be_written_to() -> None:
    (data,) = read_records(encode_entry(state()))
    found = decode_entry(data)
    assert isinstance(found, State)
    found.arrays["matrix"][0, 0] = 1


@pytest.mark.parametrize("told", [None, state()])
def test_an_opening_comes_back_as_it_was(told: State | None) -> None:
    (data,) = read_records(encode_opening(Opening(LAST, told)))
    found = decode_opening(data)
    assert found.first == LAST
    check_equal(found.state, told)


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(TypeError, match="no entry of a journal"):
        encode_entry("entry")  # type: ignore[arg-type]


def bad_array(**changes: Any) -> pb.Entry:
    entry = pb.Entry()
    fields = {"name": "a", "dtype": "<f8", "shape": [1], "data": bytes(8), **changes}
    entry.state.arrays.add(**fields)
    return entry


def bad_drops(**changes: Any) -> bytes:
    fields = {"source": SESSION, "wall_time": 1.0, **changes}
    return pb.Entry(dropped=pb.Dropped(**fields)).SerializeToString()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "cannot be read"),
        (b"", "kind is not known"),
        (pb.Entry(scalars=pb.Scalars(tag=bytes(3))).SerializeToString(), "scalars"),
        (pb.Entry(scalars=pb.Scalars(tag=bytes(8), value=bytes(24))).SerializeToString(), "rows"),
        (pb.Entry(summary=pb.Summary(partial=b"\xff")).SerializeToString(), "summary"),
        (bad_drops(source=b"short"), "5 bytes"),
        (bad_drops(wall_time=math.inf), "wall time inf"),
        (bad_drops(counts=[pb.DropCount(reason=str(n)) for n in range(34)]), "34 reasons"),
        (
            bad_drops(counts=[pb.DropCount(records=LAST), pb.DropCount(reason="a", records=1)]),
            "records",
        ),
        (bad_array(dtype="|O").SerializeToString(), "dtype"),
        (bad_array(shape=[2]).SerializeToString(), "state"),
    ],
)
def test_what_cannot_be_read_is_told(data: bytes, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        decode_entry(data)


def test_a_newer_version_is_told_with_the_cure() -> None:
    with pytest.raises(JournalError, match=r"version 2.*run the daemon that wrote it"):
        decode_opening(pb.Opening(version=2).SerializeToString())


@pytest.mark.parametrize("rows", [0, 1, 2, 100])
@pytest.mark.parametrize("differs", [False, True])
def test_scalars_are_encoded_as_protobuf_serializes_them(rows: int, differs: bool) -> None:
    tag, step = np.full(rows, 3), np.full(rows, -5)
    if differs and rows:
        tag[0], step[0] = 70_000, 1 << 40
    entry = Scalars(SESSION, tag, step, np.arange(rows) + 0.5, np.full(rows, np.nan))
    (data,) = read_records(encode_entry(entry))
    assert pb.Entry.FromString(data).SerializeToString(deterministic=True) == data
