from __future__ import annotations

import numpy as np
import pytest
from boardd.events import event, marks
from boardd.events.event_pb2 import Event
from boardd.events.marks_pb2 import Batch
from boardd.events.values import scalar_value
from hypothesis import given
from hypothesis import strategies as st
from support.tfrecords import read_records

NOW = 1_700_000_000.5
numbers = st.lists(st.integers(1, 1 << 62), min_size=1, max_size=40, unique=True).map(sorted)


def data_of(batch: Batch) -> bytes:
    (data,) = read_records(marks.mark(NOW, batch))
    return data


def test_a_mark_is_an_event_with_a_wall_time_and_nothing_that_readers_know() -> None:
    batch = Batch(offset=77, parts=[{"known": 1, "runs": [0, 3]}])
    data = data_of(batch)
    assert marks.is_mark(data)
    assert marks.batch_of(data) == batch
    read = Event.FromString(data)
    assert read.wall_time == NOW
    assert read.WhichOneof("what") is None
    assert read.step == 0


def test_other_events_are_no_marks() -> None:
    for record in (event.file_version(NOW), event.summary(NOW, 3, scalar_value("a", 1.0))):
        (data,) = read_records(record)
        assert not marks.is_mark(data)
    assert not marks.is_mark(b"")


def test_a_mark_of_noise_is_refused() -> None:
    data = data_of(Batch(offset=1 << 40))
    with pytest.raises(ValueError, match="cannot be read"):
        marks.batch_of(data[:-1])


@given(numbers)
def test_runs_name_every_number(sequences: list[int]) -> None:
    runs = marks.runs_of(np.array(sequences, np.uint64))
    assert marks.events_in(runs) == len(sequences)
    found = [marks.sequence_after(runs, count) for count in range(1, len(sequences) + 1)]
    assert found == sequences
    with pytest.raises(ValueError, match="fewer"):
        marks.sequence_after(runs, len(sequences) + 1)


@given(st.integers(1, (1 << 63) - 1))
def test_a_table_tells_its_offset_as_it_is_looked_for(offset: int) -> None:
    assert marks.told_offset(offset) in data_of(Batch(offset=offset, epoch=1))


def test_numbers_in_a_row_take_no_room() -> None:
    assert marks.runs_of(np.arange(5, 100_005, dtype=np.uint64)) == [4, 100_000]
    assert marks.runs_of(np.array([1, 2, 4, 9], np.uint64)) == [0, 2, 1, 1, 4, 1]
    known = Batch(parts=[{"known": 1, "runs": [1_000_000, 100]}])
    assert len(marks.mark(NOW, known)) < 45


@given(st.lists(st.tuples(st.integers(1, 1 << 31), numbers), min_size=1, max_size=4))
def test_a_mark_of_runs_alone_is_what_protobuf_serializes(
    parts: list[tuple[int, list[int]]],
) -> None:
    told = [(known, marks.runs_of(np.array(written, np.uint64))) for known, written in parts]
    batch = Batch(parts=[{"known": known, "runs": runs} for known, runs in told])
    assert marks.mark_of_runs(NOW, told) == marks.mark(NOW, batch)
