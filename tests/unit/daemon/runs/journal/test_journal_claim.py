"""Who may write a journal where the file system has no locks."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Scalars
from boardd.core.refusals import RefusedError
from boardd.runs.directories.logdir import Roots
from boardd.runs.journal.journal_claim import CLAIM_NAME, JournalClaim
from boardd.runs.journal.journal_reader import JournalReader
from support.relayed_life import TAGS, HostLife, member

SESSION = b"s" * 16
ASKED = member(SESSION, 0, 2)


def test_where_there_are_locks_nothing_is_claimed(tmp_path: Path) -> None:
    with Roots([tmp_path]).open_run("run") as directory:
        claim = JournalClaim(directory)
        assert not claim.is_needed
        claim.check(directory.fd)
        assert not list(directory.path.iterdir())


@pytest.mark.usefixtures("no_locks")
def test_the_last_claim_counts(tmp_path: Path) -> None:
    roots = Roots([tmp_path])
    with roots.open_run("run") as directory, roots.open_run("run") as another:
        first = JournalClaim(directory)
        first.check(directory.fd)
        second = JournalClaim(another)
        second.check(another.fd)
        with pytest.raises(RefusedError, match=r"taken over \(pid \d+ .+\).*open the writers anew"):
            first.check(directory.fd)
        # Whoever was taken over does not take it back, unless the claim is gone.
        with pytest.raises(RefusedError, match="taken over"):
            JournalClaim(directory, first)
        assert [path.name for path in directory.path.iterdir()] == [CLAIM_NAME]
        (directory.path / CLAIM_NAME).unlink()
        with pytest.raises(RefusedError, match="taken over"):
            second.check(another.fd)
        JournalClaim(directory, first).check(directory.fd)


@pytest.mark.usefixtures("no_locks")
def test_what_comes_too_late_is_in_no_journal(tmp_path: Path) -> None:
    old = HostLife(tmp_path)
    old.log(ASKED, SESSION, 1, np.array([1]))
    new = HostLife(tmp_path)
    with pytest.raises(RefusedError, match="taken over"):
        old.log(ASKED, SESSION, len(TAGS) + 1, np.array([99]))
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

    def check(claim: JournalClaim, directory: int) -> None:
        really_check(claim, directory)
        if next(checks, False):
            raise OSError(errno.EIO, "the server is away")

    monkeypatch.setattr(JournalClaim, "check", check)
    with pytest.raises(OSError, match="the server is away"):
        life.log(ASKED, SESSION, len(TAGS) + 1, np.array([2]))
    life.record([])
    life.die()
    assert steps_in(tmp_path) == [1, 2]


def steps_in(root: Path) -> list[int]:
    """The steps that the journal has, each once for all tags."""
    last = HostLife(root)
    reader = JournalReader(last.directory.path)
    entries = [one.entry for one in reader.read(last.recorder.entries, 1 << 20)]
    reader.close()
    last.die()
    scalars = [entry for entry in entries if isinstance(entry, Scalars)]
    assert all(len(entry.tag) == len(TAGS) for entry in scalars)
    return [int(entry.step[0]) for entry in scalars]
