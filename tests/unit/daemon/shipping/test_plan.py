"""What becomes of the files in one directory of the spool."""

from __future__ import annotations

from boardd.shipping.plan import (
    MAX_RETRY_SECS,
    FileState,
    FileVersion,
    Shipped,
    in_order,
    retry_secs,
    states,
)

VERSION = FileVersion(10, 1, 1)
FIRST, SECOND, THIRD = (f"events.out.tfevents.{number}.host" for number in (1, 2, 3))
CONFIG = "projector_config.pbtxt"


def test_what_is_later_than_the_last_closed_file_is_open() -> None:
    files = dict.fromkeys([FIRST, SECOND, THIRD], VERSION)
    found = states(files, {}, SECOND)
    assert found == {
        FIRST: FileState.CLOSED,
        SECOND: FileState.CLOSED,
        THIRD: FileState.OPEN,
    }
    assert set(states(files, {}, None).values()) == {FileState.CLOSED}


def test_a_shipped_file_stays_until_a_later_one_with_marks_is_shipped() -> None:
    files = dict.fromkeys([FIRST, SECOND, THIRD], VERSION)
    without, marked = Shipped(VERSION, has_marks=False), Shipped(VERSION, has_marks=True)
    assert states(files, {FIRST: marked, SECOND: without}, None)[FIRST] is FileState.SHIPPED
    found = states(files, {FIRST: marked, SECOND: marked, THIRD: without}, None)
    assert found == {
        FIRST: FileState.SUPERSEDED,
        SECOND: FileState.SHIPPED,
        THIRD: FileState.SHIPPED,
    }


def test_a_side_file_that_was_replaced_is_shipped_again_and_never_superseded() -> None:
    shipped = {CONFIG: Shipped(VERSION, has_marks=False), FIRST: Shipped(VERSION, has_marks=True)}
    files = {CONFIG: VERSION, FIRST: VERSION}
    assert set(states(files, shipped, None).values()) == {FileState.SHIPPED}
    files[CONFIG] = VERSION._replace(inode=2)
    assert states(files, shipped, None)[CONFIG] is FileState.CLOSED


def test_a_config_follows_what_it_names_and_event_files_follow_by_name() -> None:
    names = [SECOND, CONFIG, "tensors.bytes", FIRST]
    found = dict.fromkeys(names, FileState.CLOSED)
    found[THIRD] = FileState.OPEN
    assert in_order(found) == ["tensors.bytes", CONFIG, FIRST, SECOND]


def test_tries_are_ever_farther_apart_up_to_a_bound() -> None:
    assert [retry_secs(failures) for failures in range(5)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert retry_secs(10_000) == MAX_RETRY_SECS
