"""What a daemon that was killed has noted, and what the next one makes of it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.runs.run_state import Member, Runs
from boardd.core.session.batch import SummaryPart
from boardd.runs.writing.reduction_notes import MAX_ENTRIES, ReductionNotes
from boardd.summaries.reduction import SummaryError
from boardd_protos import boardd_pb2 as pb

DEADLINE_SECS = 10.0
SESSION = bytes(range(16))


def part(sequence: int, *, is_copy: bool = False) -> SummaryPart:
    run = Runs(Budgets()).join("/run", "/", "", (SESSION, 1), Member(-1, 0, ""))
    return SummaryPart(SESSION, run, None, sequence, 1, 0, 0, 0, 0.0, b"", {}, is_copy=is_copy)


def killed_at(path: Path, *parts: SummaryPart) -> None:
    """Leaves the file as a daemon does that is killed while it reduces ``parts``."""
    notes = ReductionNotes(path)
    with contextlib.ExitStack() as reducing:
        for one in parts:
            reducing.enter_context(notes.noted(one))
        left = path.read_bytes()
    notes.close()
    path.write_bytes(left)


def is_set_aside(notes: ReductionNotes, one: SummaryPart) -> bool:
    try:
        with notes.noted(one):
            return False
    except SummaryError as error:
        return error.reason == pb.DAEMON_KILLED


def test_a_record_is_set_aside_after_two_deaths_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    killed_at(path, part(1), part(2))
    killed_at(path, part(1))
    notes = ReductionNotes(path)
    assert is_set_aside(notes, part(1))
    assert not is_set_aside(notes, part(1, is_copy=True))
    assert not is_set_aside(notes, part(2))
    notes.close()
    # It stays so: the next daemon may be sent it again before its client has heard.
    assert is_set_aside(ReductionNotes(path), part(1))


def test_only_the_guilty_record_of_those_that_a_daemon_died_with_is_set_aside(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes"
    killed_at(path, part(1), part(2))
    notes = ReductionNotes(path)
    under_way: list[int] = []
    order: list[int] = []
    lock = threading.Lock()

    def reduce(sequence: int) -> None:
        with notes.noted(part(sequence)):
            with lock:
                under_way.append(sequence)
                order.append(sequence)
                assert not {1, 2} & set(under_way) or under_way == [sequence]
            with lock:
                under_way.remove(sequence)

    # Suspects wait for what is noted already, and what comes later waits for them.
    with ThreadPoolExecutor(8) as threads:
        with notes.noted(part(3)):
            suspects = [threads.submit(reduce, sequence) for sequence in (1, 2)]
            while notes.suspects_waiting < 2:
                assert not any(one.done() for one in suspects)
            others = [threads.submit(reduce, sequence) for sequence in (4, 5, 6)]
            assert not order
        for one in suspects + others:
            one.result(DEADLINE_SECS)
    assert set(order[:2]) == {1, 2}
    assert set(order[2:]) == {4, 5, 6}
    notes.close()
    assert not list(tmp_path.iterdir())


def test_who_waits_is_let_go_when_nothing_is_noted_any_more(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    killed_at(path, part(1))
    notes = ReductionNotes(path)
    with ThreadPoolExecutor(1) as threads, notes.noted(part(2)):
        waiting = threads.submit(is_set_aside, notes, part(1))
        while not notes.suspects_waiting:
            assert not waiting.done()
        notes.close()
        assert not waiting.result(DEADLINE_SECS)
    assert not is_set_aside(ReductionNotes(path), part(1)), "one death is not forgotten, nor two"


def test_a_record_that_was_reduced_in_the_end_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    killed_at(path, part(1))
    notes = ReductionNotes(path)
    assert not is_set_aside(notes, part(1))
    notes.close()
    killed_at(path, part(1))
    assert not is_set_aside(ReductionNotes(path), part(1))


def test_deaths_count_once_also_if_a_daemon_dies_before_the_record_comes(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    killed_at(path, part(1))
    killed_at(path)
    killed_at(path)
    assert not is_set_aside(ReductionNotes(path), part(1))


def test_a_daemon_that_ends_in_good_order_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    notes = ReductionNotes(path)
    with notes.noted(part(1)):
        notes.close()
    notes.close()
    assert not list(tmp_path.iterdir())


def test_the_file_is_bounded_and_keeps_what_is_being_reduced(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    for begin in range(0, 2 * MAX_ENTRIES, MAX_ENTRIES):
        killed_at(path, *(part(1 + begin + number) for number in range(MAX_ENTRIES)))
    notes = ReductionNotes(path)
    with notes.noted(part(1 << 40)):
        assert path.stat().st_size == MAX_ENTRIES * 32
        killed = path.read_bytes()
    notes.close()
    path.write_bytes(killed)
    killed_at(path, part(1 << 40))
    assert is_set_aside(ReductionNotes(path), part(1 << 40))


@pytest.mark.parametrize("content", [b"x" * 10, b"\xff" * 3200, b"\0" * 100])
def test_a_file_of_something_else_does_no_harm(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    assert not is_set_aside(ReductionNotes(path), part(1))


def test_without_a_file_everything_is_reduced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = ReductionNotes(tmp_path / "missing" / "notes")
    assert "not noted" in caplog.text
    assert not is_set_aside(notes, part(1))
    notes.close()
