"""Who may write a journal where the file system has no locks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Entry, Scalars
from boardd.core.refusals import RefusedError
from boardd.core.runs.contents import RunContents
from boardd.runs.directories.logdir import Roots
from boardd.runs.journal.journal import Journal
from boardd.runs.journal.journal_claim import CLAIM_NAME, ClaimGoneError, JournalClaim
from boardd.runs.journal.journal_reader import JournalReader
from boardd.runs.journal.journal_segments import Segment, replayed
from support.relayed_life import TAGS, HostLife, member

SESSION = b"s" * 16
ASKED = member(SESSION, 0, 2)


def test_where_there_are_locks_nothing_is_claimed(tmp_path: Path) -> None:
    with Roots([tmp_path]).open_run("run") as directory:
        claim = JournalClaim(directory)
        assert not claim.is_needed
        claim.check()
        assert not list(directory.path.iterdir())


@pytest.mark.usefixtures("no_locks")
def test_the_last_claim_counts(tmp_path: Path) -> None:
    roots = Roots([tmp_path])
    with roots.open_run("run") as directory, roots.open_run("run") as another:
        first = JournalClaim(directory)
        first.check()
        second = JournalClaim(another)
        second.check()
        with pytest.raises(RefusedError, match=r"taken over \(pid \d+ .+\).*open the writers anew"):
            first.check()
        # Whoever was taken over does not take it back, unless the claim is gone.
        with pytest.raises(RefusedError, match="taken over"):
            JournalClaim(directory, first)
        assert [path.name for path in directory.path.iterdir()] == [CLAIM_NAME]
        (directory.path / CLAIM_NAME).unlink()
        with pytest.raises(ClaimGoneError):
            second.check()
        JournalClaim(directory, first).check()


@pytest.mark.usefixtures("no_locks")
def test_what_comes_too_late_is_in_no_journal(tmp_path: Path) -> None:
    old = HostLife(tmp_path)
    old.log(ASKED, SESSION, 1, np.array([1]))
    new = HostLife(tmp_path)
    with pytest.raises(RefusedError, match="taken over"):
        old.log(ASKED, SESSION, len(TAGS) + 1, np.array([99]))
    with pytest.raises(RefusedError, match="taken over"):
        old.recorder.catch_up()
    new.log(ASKED, SESSION, len(TAGS) + 1, np.array([2]))
    old.die()
    new.die()
    assert steps_in(tmp_path) == [1, 2]


@pytest.mark.usefixtures("no_locks")
def test_a_claim_that_cannot_be_read_is_read_again_and_nothing_is_appended_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = HostLife(tmp_path)
    life.log(ASKED, SESSION, 1, np.array([1]))
    checks = iter([False, True])  # before the append, and after it
    really_check = JournalClaim.check

    def check(claim: JournalClaim) -> None:
        really_check(claim)
        if next(checks, False):
            raise OSError(errno.EIO, "the server is away")

    monkeypatch.setattr(JournalClaim, "check", check)
    with pytest.raises(OSError, match="the server is away"):
        life.log(ASKED, SESSION, len(TAGS) + 1, np.array([2]))
    life.record([])
    life.die()
    assert steps_in(tmp_path) == [1, 2]


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("cut_bytes", [None, 0, 30, -1])
def test_what_is_appended_after_another_daemon_has_claimed_the_journal_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_bytes: int | None
) -> None:
    """The other one takes over before the append, or after so many bytes of it."""
    old = HostLife(tmp_path)
    old.log(ASKED, SESSION, 1, np.array([1]))
    reader = JournalReader(old.directory.path)
    taken_over: list[HostLife] = []
    really_write = os.write

    def write(fd: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", really_write)
        written = 0 if cut_bytes is None else really_write(fd, data[:cut_bytes])
        new = HostLife(tmp_path)
        taken_over.append(new)
        new.log(ASKED, SESSION, len(TAGS) + 1, np.array([2]))
        if cut_bytes is not None:
            raise OSError(errno.ENOSPC, "no room")
        return written + really_write(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises((RefusedError, OSError), match=r"taken over|no room"):
        old.log(ASKED, SESSION, len(TAGS) + 1, np.array([99]))
    if cut_bytes is not None:
        old.file.resume()  # the disk did what it was told before, only later
    new = taken_over[0]
    assert steps_read(reader, new) == [1, 2]
    new.log(ASKED, SESSION, 2 * len(TAGS) + 1, np.array([3]))
    assert steps_read(reader, new) == [3]
    reader.close()
    old.die()
    new.die()
    assert steps_in(tmp_path) == [1, 2, 3]


@pytest.mark.usefixtures("no_locks")
def test_no_segment_is_made_in_a_journal_that_was_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = HostLife(tmp_path)
    old.log(ASKED, SESSION, 1, np.array([1]))
    taken_over: list[HostLife] = []
    really_rotate = Journal.rotate

    def rotate(journal: Journal) -> None:
        monkeypatch.setattr(Journal, "rotate", really_rotate)
        taken_over.append(HostLife(tmp_path))  # after the look at the claim
        taken_over[0].log(ASKED, SESSION, len(TAGS) + 1, np.array([2]))
        journal.file.end_file()

    monkeypatch.setattr(Journal, "rotate", rotate)
    with pytest.raises(OSError, match="taken over"):
        old.log(ASKED, SESSION, len(TAGS) + 1, np.array([99]))
    taken_over[0].log(ASKED, SESSION, 2 * len(TAGS) + 1, np.array([3]))
    old.die()
    taken_over[0].die()
    assert steps_in(tmp_path) == [1, 2, 3]


def test_a_segment_that_came_too_late_is_passed_over() -> None:
    begun = Segment("1", 0, 5, is_start=True)
    late = Segment("2", 7, 9, is_start=True)
    after = Segment("3", 4, 8, is_start=True)
    assert replayed([begun, late, after]) == [begun._replace(end=4), after]


def steps_in(root: Path) -> list[int]:
    """The steps that the journal has, each once for all tags."""
    last = HostLife(root)
    reader = JournalReader(last.directory.path)
    steps = steps_read(reader, last)
    reader.close()
    journal = Journal(last.directory, RunContents(), last.recorder.replica.group.state)
    assert steps_of(journal.replay()) == steps
    last.die()
    return steps


def steps_read(reader: JournalReader, life: HostLife) -> list[int]:
    """The steps of what came to the journal of ``life`` since the last call."""
    return steps_of(one.entry for one in reader.read(life.recorder.entries, 1 << 20))


def steps_of(entries: Iterable[Entry]) -> list[int]:
    scalars = [entry for entry in entries if isinstance(entry, Scalars)]
    assert all(len(entry.tag) == len(TAGS) for entry in scalars)
    return [int(entry.step[0]) for entry in scalars]
