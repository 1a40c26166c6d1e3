from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.events.tfrecord import record
from boardd.runs.event_files.durability import SyncFailedError
from boardd.runs.journal.journal_entries import JournalError
from boardd_protos import boardd_pb2 as pb
from support.journal_life import JournalLife
from support.journal_reader import CLOSED, SCALARS, read_journal, read_segment
from support.tfrecords import read_records

FIRST, SECOND, THIRD, FOURTH = (f"journal.boardd.{number:010d}" for number in range(1, 5))
#: So short that each append gets a segment of its own.
EACH = 1


@contextmanager
def life(root: Path, segment_bytes: int = 1 << 20) -> Iterator[JournalLife]:
    one = JournalLife(root, 2, segment_bytes=segment_bytes)
    try:
        yield one
    finally:
        one.close()


def test_there_is_no_file_before_the_first_append(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.journal.append([])
        assert one.names() == []
        assert one.journal.entries == 0


def test_what_is_appended_is_replayed(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin(), one.log(0, 3), one.log(1, 100), one.decide(0, 2))
        one.append(one.log(0, 1))
        assert one.names() == [FIRST]
    with life(tmp_path) as one:
        one.check()
        assert (one.ledger.last, one.ledger.frontier) == ([4, 100], [2, 0])
        assert one.journal.entries == 5
        one.append(one.log(1, 1))
        assert one.names() == [FIRST, SECOND]  # a torn tail is never repaired in place
    with life(tmp_path) as one:
        one.check()
        assert one.ledger.last == [4, 101]


def test_the_journal_reads_by_hand(tmp_path: Path) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin(), one.log(0, 2), one.decide(0, 1))
        one.append(one.log(1, 1))
    first, second = (read_segment(tmp_path / "journal" / name) for name in (FIRST, SECOND))
    assert first is not None
    assert second is not None
    assert (first.first, first.has_state) == (0, False)
    assert (second.first, second.has_state) == (3, True)
    assert [one.field for one in first.entries] == [1, SCALARS, CLOSED]
    assert (first.entries[1].steps, first.entries[2].sequence) == ((1, 2), 1)
    assert (second.entries[0].session, second.entries[0].steps) == (b"\1" * 16, (1,))


def test_its_files_are_no_event_files(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin())
        assert not any("tfevents" in name for name in one.names())


def test_a_segment_ends_when_it_is_long(tmp_path: Path) -> None:
    with life(tmp_path, 4096) as one:
        one.append(one.begin())
        while len(one.names()) < 4:
            one.append(one.log(0, 10))
            one.append(one.decide(0, one.ledger.last[0] - 5))
        *whole, _ = one.names()
        assert all(4096 <= (one.path / name).stat().st_size < 5000 for name in whole)
    with life(tmp_path) as one:
        one.check()


def test_states_in_between_are_passed_over(tmp_path: Path) -> None:
    # What is open at the second and third state lies in the first segment.
    with life(tmp_path, EACH) as one:
        one.append(one.begin(), one.log(0, 3), one.log(1, 3))
        one.append(one.decide(0, 1))
        one.append(one.decide(1, 2))
        assert one.release(written=2) == []
        assert one.names() == [FIRST, SECOND, THIRD]
    with life(tmp_path) as one:
        one.check()
        assert [sorted(steps) for steps in one.ledger.open] == [[2, 3], [3]]


def test_a_segment_goes_when_all_of_it_is_closed_and_written(tmp_path: Path) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin(), one.log(0, 2))
        one.append(one.log(0, 1))
        one.append(one.decide(0, 2))
        assert one.release(written=0) == []
        assert one.release(written=1) == [FIRST]
        one.append(one.log(1, 1))
        assert one.release(written=1) == []  # step 3 is open in the second
        one.append(one.decide(0, 3))
        assert one.release(written=1) == []
        assert one.release(written=2) == [SECOND, THIRD]
        assert one.names() == [FOURTH, FOURTH[:-1] + "5"]
    with life(tmp_path) as one:
        one.check()
        assert (one.ledger.last, one.ledger.frontier, one.ledger.emitted) == ([3, 1], [3, 0], 2)


def test_decisions_are_kept_until_their_points_are_written(tmp_path: Path) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin(), one.log(0, 2), one.decide(0, 1), one.decide(0, 2, number=2))
        one.append(one.log(1, 1))
        assert one.release(written=1) == []
        assert one.release(written=2) == [FIRST]


def test_nothing_is_released_while_an_append_is_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin())
        one.append(one.log(0, 1))

        def refuse(fd: int, data: bytes | memoryview) -> int:
            raise OSError(28, "No space left on device")

        record = one.log(0, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(OSError, match="No space"):
                one.journal.append([record])
        assert one.release(written=0) == []
        one.resume()
        one.apply(record)
        assert one.release(written=0) == [FIRST]


def test_what_an_earlier_daemon_left_is_released_too(tmp_path: Path) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin(), one.log(0, 2))
        one.append(one.log(1, 1))
    with life(tmp_path, EACH) as one:
        one.append(one.decide(0, 2))
        assert one.release(written=1) == [FIRST]
        one.append(one.decide(1, 1))
        assert one.release(written=2) == [SECOND, THIRD]
    with life(tmp_path) as one:
        one.check()


def test_segments_go_only_when_those_that_stay_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with life(tmp_path, EACH) as one:
        one.append(one.begin())
        one.append(one.log(0, 1))

        def fail(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(SyncFailedError):
                one.release(written=0)
        assert one.names() == [FIRST, SECOND]
        one.append(one.log(0, 1))
        one.append(one.decide(0, 2))
        assert one.release(written=1) == [FIRST, SECOND, THIRD]
    with life(tmp_path) as one:
        one.check()


def test_a_segment_that_continues_an_append_has_no_state_and_goes_with_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with life(tmp_path, 1 << 20) as one:
        one.append(one.begin())
        records = [one.log(0, 2), one.log(0, 3, after=2), one.log(1, 1)]
        last = len(one.journal.encode(records[-1:])[0])
        write = os.write
        torn: list[int] = []

        def tear(fd: int, given: bytes | memoryview) -> int:
            if not torn:
                torn.append(write(fd, given[: len(given) - last - 3]))
                return torn[0]
            if len(torn) == 1:
                torn.append(0)
                raise OSError(5, "Input/output error")
            return write(fd, given)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", tear)
            one.append(*records)
        second = read_segment(one.path / SECOND)
        assert second is not None
        assert (second.first, second.has_state, len(second.entries)) == (2, False, 2)
        one.journal.file.end_file()
        one.append(one.decide(0, 5))
        assert one.release(written=1) == []
        one.append(one.decide(1, 1))
        assert one.release(written=2) == [FIRST, SECOND]
    with life(tmp_path) as one:
        one.check()


def test_a_live_segment_that_was_removed_is_lost_and_told(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin(), one.log(0, 3), one.decide(0, 2))
        (one.path / FIRST).unlink()
        one.append(one.log(0, 1))
        with pytest.raises(SyncFailedError, match="removed or replaced"):
            one.journal.file.sync()
    with life(tmp_path) as one:
        # The group goes on from its state; step 3 was open, and is lost.
        assert (one.ledger.last, one.ledger.frontier) == ([4, 0], [2, 0])
        assert sorted(one.ledger.open[0]) == [4]
        assert one.journal.entries == one.ledger.entries == 4


@pytest.mark.parametrize("removed", [FIRST, SECOND, THIRD])
def test_behind_a_gap_the_group_is_restored_from_the_next_state(
    removed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with life(tmp_path, EACH) as one:
        for logged in (one.begin(), one.log(0, 1), one.log(0, 2, after=1), one.log(1, 1)):
            one.append(logged)
    (tmp_path / "journal" / removed).unlink()
    with caplog.at_level(logging.ERROR, "boardd"), life(tmp_path) as one:
        assert (one.ledger.last, one.journal.entries) == ([3, 1], 4)
        assert ("is left out" in caplog.text) == (removed != FIRST)
        one.append(one.log(0, 1))
    with life(tmp_path) as one:
        assert one.ledger.last == [4, 1]


def test_a_journal_without_any_state_begins_anew(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin(), one.log(0, 1))
    path = tmp_path / "journal" / FIRST
    with life(tmp_path, EACH) as one:
        one.append(one.log(0, 1))
    path.unlink()
    data = (tmp_path / "journal" / SECOND).read_bytes()
    (opening, *_) = read_records(data)
    (tmp_path / "journal" / SECOND).write_bytes(data[: len(opening) + 16])
    with life(tmp_path) as one:
        assert one.journal.entries == 0
        one.append(one.begin(), one.log(0, 1))
    with life(tmp_path) as one:
        assert (one.ledger.last, one.journal.entries) == ([1, 0], 2)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin(), one.log(0, 1))
    journal = tmp_path / "journal"
    (journal / "journal.boardd.00000000009").write_bytes(b"x")
    (journal / "notes").write_bytes(b"x")
    os.mkfifo(journal / SECOND)
    (journal / THIRD).symlink_to(tmp_path / "elsewhere")
    with life(tmp_path) as one:
        one.check()
        one.append(one.log(0, 1))
        assert FOURTH in one.names()
    assert not (tmp_path / "elsewhere").exists()


def test_no_name_is_left(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "journal.boardd.9999999999").touch()
    with pytest.raises(RefusedError, match="remove that file") as caught:
        JournalLife(tmp_path, 2)
    assert caught.value.reason == pb.INVALID_NAME


def test_an_entry_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with life(tmp_path) as one:
        one.append(one.begin())
        _, parts = one.journal.encode([one.begin()])
        one.journal.file.append(record(b"\x7a\0"), parts)  # of a newer version
    with pytest.raises(JournalError, match="kind is not known"):
        JournalLife(tmp_path, 2)


# A daemon that dies, a disk that is full, an error: at each byte -------------------------

#: Every so many bytes; ``JOURNAL_SWEEP=1`` takes each.
STRIDE = int(os.environ.get("JOURNAL_SWEEP", "13"))
SEGMENT_BYTES = 700


class KilledError(BaseException):
    pass


class Disk:
    """Takes ``room`` bytes more; then ``fails`` is called, once, before it takes the rest."""

    def __init__(self, room: int, fails: Callable[[], None]) -> None:
        self.room, self._fails = room, fails
        self._write = os.write

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.room < 0:
            return self._write(fd, data)
        if self.room < len(data):
            cut, self.room = self.room, self.room - len(data)
            if cut:
                self.room = 0
                return self._write(fd, data[:cut])
            self._fails()
        self.room -= len(data)
        return self._write(fd, data)


def killed() -> None:
    raise KilledError


def failing(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def script(one: JournalLife, acknowledge: Callable[[], None]) -> None:
    """A short history, from wherever it broke off: what is written is passed over."""
    ledger = one.ledger
    if not ledger.entries:
        one.append(one.begin(), one.log(0, 1))
        acknowledge()
    while ledger.last[0] < 12:
        after = ledger.last[0]
        records = [one.log(0, 1), one.log(0, 2, after=after + 1), one.log(1, 3)]
        one.append(*records)
        acknowledge()
        one.append(one.decide(0, after), one.decide(1, ledger.last[1] - 2, number=2))
        acknowledge()
        one.release(written=ledger.emitted - 1)
    acknowledge()


def play(root: Path, room: int, fails: Callable[[], None]) -> bool:
    """Plays the script, on a disk that fails after ``room`` bytes; returns whether it did."""
    disk = Disk(room, fails)
    acknowledged: list[int] = [0, 0, 0]

    def acknowledge() -> None:
        acknowledged[:] = [*one.ledger.last, one.ledger.emitted]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", disk.write)
        try:
            with life(root, SEGMENT_BYTES) as one:
                script(one, acknowledge)
        except KilledError:
            pass
    with life(root, SEGMENT_BYTES) as one:
        one.check()
        found = [*one.ledger.last, one.ledger.emitted]
        assert all(map(int.__ge__, found, acknowledged)), "what was acknowledged is lost"
        script(one, acknowledge)
    with life(root) as one:
        one.check()
        assert [*one.ledger.last, one.ledger.emitted] == acknowledged
        assert one.ledger.last[0] >= 12
        check_by_hand(one)
    return disk.room < 0


def check_by_hand(one: JournalLife) -> None:
    found = read_journal(one.path)
    numbers = sorted(found)
    assert numbers == list(range(numbers[0], one.ledger.entries))
    for session, last in enumerate(one.ledger.last):
        steps = [
            step
            for number in numbers
            if found[number].session == bytes([session]) * 16
            for step in found[number].steps
        ]
        assert steps == list(range(last + 1 - len(steps), last + 1))
    emitted = [found[number].sequence for number in numbers if found[number].field == CLOSED]
    assert emitted == list(range(one.ledger.emitted + 1 - len(emitted), one.ledger.emitted + 1))


@pytest.mark.parametrize(
    "fails", [killed, failing(28), failing(5)], ids=["killed", "full", "error"]
)
def test_each_contribution_is_there_once_wherever_a_write_breaks_off(
    fails: Callable[[], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL, "boardd")
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # it takes the time, and nothing is cut
    room = 0
    while play(tmp_path / str(room), room, fails):
        room += STRIDE
    assert room > 3 * SEGMENT_BYTES
