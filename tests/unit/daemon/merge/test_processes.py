from __future__ import annotations

import pytest
from boardd.events.marks_pb2 import Batch, Mark, Part
from boardd.merge.processes import NO_PROCESS, Processes

A, B = b"a" * 16, b"b" * 16


def part(session: bytes = b"", known: int = 0, events: int = 1) -> Part:
    return Part(session=session, known=known, runs=[0, events])


def ours() -> Processes:
    processes = Processes()
    processes.begin_file(0)
    processes.take_writer("boardd")
    assert processes.of_next(1).tolist() == [NO_PROCESS]  # the event that opens the file
    return processes


def test_marks_tell_whose_events_follow() -> None:
    processes = ours()
    processes.take_mark(Batch(offset=20, parts=[part(A, events=2), part(B), part(known=1)]))
    assert processes.of_next(3).tolist() == [0, 0, 1]
    assert processes.of_next(1).tolist() == [0]
    processes.take_mark(Batch(parts=[part(known=2, events=3), part(events=2)]))
    assert processes.of_next(5).tolist() == [1, 1, 1, NO_PROCESS, NO_PROCESS]


def test_a_table_numbers_sessions_anew() -> None:
    processes = ours()
    processes.take_mark(Batch(offset=20, parts=[part(A), part(B)]))
    assert processes.of_next(2).tolist() == [0, 1]
    processes.take_mark(Batch(offset=200, table=[Mark(session=B)], parts=[part(known=1)]))
    assert processes.of_next(1).tolist() == [1]


def test_a_session_goes_on_in_the_next_file() -> None:
    processes = ours()
    processes.take_mark(Batch(offset=20, parts=[part(A)]))
    assert processes.of_next(1).tolist() == [0]
    processes.begin_file(1)
    processes.take_writer("boardd")
    processes.take_mark(Batch(offset=20, table=[Mark(session=A)], parts=[part(known=1)]))
    assert processes.of_next(1).tolist() == [0]


@pytest.mark.parametrize("writer", ["", "tensorboard.summary.writer"])
def test_each_file_of_another_program_is_a_process(writer: str) -> None:
    processes = Processes()
    for file in range(3):
        processes.begin_file(file)
        processes.take_writer(writer)
        assert processes.of_next(2).tolist() == [file, file]


def test_a_mark_of_an_unknown_session_is_of_no_process() -> None:
    processes = ours()
    processes.take_mark(Batch(parts=[part(known=7)]))
    assert processes.of_next(1).tolist() == [NO_PROCESS]
