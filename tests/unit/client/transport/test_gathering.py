"""What is gathered is gathered once, and nobody waits for it longer than asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from boardd_client.transport.gathering import Gatherings
from support.waiting import DEADLINE_SECS, wait_until


class Description:
    """Describes a process by its directory, once it may; counts how often it is asked."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.calls = 0

    def __call__(self, argv: Sequence[str], directory: str) -> str:
        self.calls += 1
        assert self.may_go.wait(DEADLINE_SECS)
        return f"in {directory}"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "boardd-provenance"]


@pytest.fixture
def description() -> Iterator[Description]:
    description = Description()
    yield description
    description.may_go.set()
    wait_until(lambda: not threads())


def test_a_process_gathers_once(
    description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gatherings = Gatherings(description)
    told: list[str] = []
    begun = [gatherings.begin(told.append) for _ in range(3)]
    assert len(threads()) == 1
    description.may_go.set()
    for gathering in begun:
        gathering.finish(DEADLINE_SECS)
    gatherings.begin(told.append)  # waits for nothing
    assert told == [f"in {tmp_path}"] * 4
    assert description.calls == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    gatherings.begin(told.append).finish(DEADLINE_SECS)
    assert told[4:] == [f"in {elsewhere}"]


def test_nothing_is_told_once_it_is_over(description: Description) -> None:
    gatherings = Gatherings(description)
    told: list[str] = []
    late: list[str] = []
    gathering = gatherings.begin(told.append)
    gatherings.begin(late.append).finish(0)
    description.may_go.set()
    gathering.finish(DEADLINE_SECS)
    wait_until(lambda: not threads())
    assert (len(told), late) == (1, [])


def test_a_call_that_waits_holds_nothing_up(description: Description) -> None:
    is_entered, may_go = threading.Event(), threading.Event()
    told: list[str] = []

    def tell(text: str) -> None:
        is_entered.set()
        assert may_go.wait(DEADLINE_SECS)
        told.append(text)

    description.may_go.set()
    gatherings = Gatherings(description)
    gathering = gatherings.begin(tell)
    assert is_entered.wait(DEADLINE_SECS)
    gathering.finish(0)
    gatherings.finish_all(0)
    assert told == []
    may_go.set()
    gathering.finish(DEADLINE_SECS)
    assert len(told) == 1


def test_all_have_one_time_to_end_in(description: Description) -> None:
    gatherings = Gatherings(description)
    told: list[str] = []
    begun = [gatherings.begin(told.append) for _ in range(160)]
    begin = time.monotonic()
    gatherings.finish_all(0.25)  # if each had that, it would be forty seconds
    assert time.monotonic() - begin < 30
    description.may_go.set()
    wait_until(lambda: not threads())
    assert told == []
    assert begun


def test_a_forked_child_gathers_for_itself(description: Description) -> None:
    gatherings = Gatherings(description)
    told: list[str] = []
    of_parent = gatherings.begin(told.append)
    gatherings.forget_in_child()
    of_child = gatherings.begin(told.append)
    assert len(threads()) == 2
    description.may_go.set()
    for gathering in (of_parent, of_child):
        gathering.finish(DEADLINE_SECS)
    assert description.calls == 2


def test_a_directory_that_was_removed_is_not_known(
    description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    description.may_go.set()
    told: list[str] = []
    Gatherings(description).begin(told.append).finish(DEADLINE_SECS)
    assert told == ["in "]


def test_nothing_is_told_if_no_thread_can_be_started(description: Description) -> None:
    gatherings = Gatherings(description)
    told: list[str] = []
    before = threading.stack_size(1 << 47)  # more than a process can address
    try:
        gathering = gatherings.begin(told.append)
    finally:
        threading.stack_size(before)
    gathering.finish(float(threading.TIMEOUT_MAX))
    assert (told, description.calls) == ([], 0)
    description.may_go.set()
    gatherings.begin(told.append).finish(DEADLINE_SECS)
    assert len(told) == 1


def test_a_call_that_fails_is_of_no_consequence_to_others(description: Description) -> None:
    def tell(text: str) -> None:
        raise ValueError(text)

    gatherings = Gatherings(description)
    told: list[str] = []
    gatherings.begin(tell)
    gathering = gatherings.begin(told.append)
    description.may_go.set()
    gathering.finish(DEADLINE_SECS)
    gatherings.begin(tell)
    assert len(told) == 1


def test_nothing_is_told_if_describing_fails() -> None:
    def describe(argv: Sequence[str], directory: str) -> str:
        raise ValueError("no")

    gatherings = Gatherings(describe)
    told: list[str] = []
    gatherings.begin(told.append).finish(DEADLINE_SECS)
    gatherings.begin(told.append)
    assert told == []
