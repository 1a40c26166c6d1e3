from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Scalars
from boardd.runs.journal.journal_entries import JournalError
from boardd.runs.journal.journal_reader import JournalReader
from support.journal_life import JournalLife

EVERYTHING = 1 << 30


def steps(reader: JournalReader, end: int, max_bytes: int = EVERYTHING) -> list[int]:
    """The steps of the scalars that are read next."""
    return [
        step
        for one in reader.read(end, max_bytes)
        if isinstance(one.entry, Scalars)
        for step in one.entry.step.tolist()
    ]


def test_it_follows_a_journal_over_all_its_segments(tmp_path: Path) -> None:
    life = JournalLife(tmp_path, 1, segment_bytes=500)
    life.append(life.begin())
    reader = JournalReader(life.path)
    found: list[int] = []
    for _ in range(20):
        life.append(life.log(0, 3))
        found += steps(reader, life.journal.entries)
        assert steps(reader, life.journal.entries) == []
    assert found == list(range(1, 61))
    assert len(life.names()) > 3
    again = JournalReader(life.path)
    assert steps(again, life.journal.entries) == found
    reader.close()
    again.close()
    life.close()


def test_it_reads_no_further_than_it_is_told(tmp_path: Path) -> None:
    life = JournalLife(tmp_path, 1)
    life.append(life.begin())
    for _ in range(4):
        life.append(life.log(0, 1))
    reader = JournalReader(life.path)
    assert steps(reader, 3) == [1, 2]
    assert steps(reader, 5, max_bytes=1) == [3]
    assert reader.next_number == 4
    assert steps(reader, 5) == [4]
    reader.close()
    life.close()


def test_an_entry_that_is_whole_in_two_segments_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = JournalLife(tmp_path, 1)
    life.append(life.begin(), life.log(0, 1))
    write, calls = os.write, []

    def unsure(fd: int, data: bytes) -> int:
        calls.append(write(fd, data))
        if len(calls) == 1:
            raise OSError(5, "an error that does not say what is written")
        return calls[-1]

    monkeypatch.setattr(os, "write", unsure)
    life.append(life.log(0, 1))
    monkeypatch.undo()
    life.append(life.log(0, 1))
    assert len(life.names()) == 2
    reader = JournalReader(life.path)
    assert steps(reader, life.journal.entries) == [1, 2, 3]
    reader.close()
    life.close()


def test_it_begins_with_the_oldest_segment_that_is_there(tmp_path: Path) -> None:
    life = JournalLife(tmp_path, 1, segment_bytes=500)
    life.append(life.begin())
    for number in range(12):
        life.append(life.log(0, 3), life.decide(0, 3 * number + 3))
    assert life.release(written=12)
    reader = JournalReader(life.path)
    assert reader.oldest > 0
    found = steps(reader, life.journal.entries)
    assert found[-1] == 36
    assert np.diff(found).tolist() == [1] * (len(found) - 1)
    reader.close()
    life.close()


def test_it_goes_on_where_segments_were_removed_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = JournalLife(tmp_path, 1, segment_bytes=500)
    life.append(life.begin())
    reader = JournalReader(life.path)
    found: list[int] = []
    for number in range(12):
        life.append(life.log(0, 3), life.decide(0, 3 * number + 3))
        # What was read is passed on, so nobody needs the segments that it lies in.
        for name in life.names()[:-1]:
            (life.path / name).unlink()
        found += steps(reader, life.journal.entries)
    assert found == list(range(1, 37))
    assert life.names()[0] > "journal.boardd.0000000003"
    assert caplog.records == []
    reader.close()
    life.close()


def test_a_segment_that_is_missing_is_told(tmp_path: Path) -> None:
    life = JournalLife(tmp_path, 1, segment_bytes=500)
    life.append(life.begin())
    reader = JournalReader(life.path)
    for _ in range(20):
        life.append(life.log(0, 3))
    (life.path / life.names()[1]).unlink()
    with pytest.raises(JournalError, match="not in the journal"):
        reader.read(life.journal.entries, EVERYTHING)
    reader.close()
    life.close()
