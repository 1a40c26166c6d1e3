"""A journal that others have written to is refused as a whole, and not met halfway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Began, Closed, Entry, Left, Scalars, State, Tag, Tags
from boardd.core.groups.group import Group
from boardd.core.refusals import RefusedError
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.events.marks import mark
from boardd.events.marks_pb2 import Batch
from boardd.runs.journal.journal_entries import Opening, encode_entry, encode_opening
from boardd.runs.journal.journal_reader import JournalReader
from boardd.runs.journal.relayed_entries import JournalError, encode_relayed
from support.relayed_life import PATIENT, Life, member

GROUP = bytes(16)
SESSION = b"session"
MEMBER = member(SESSION, 0, 2)
LOSS = Tags(0, (Tag(b"loss", "scalar", ""),))
#: Columns of this many tags would take 32 GiB.
HIGHEST_TAG = (1 << 32) - 1


def scalars(tag: int, session: bytes = MEMBER.session) -> Scalars:
    step = np.array([3])
    return Scalars(session, np.array([tag], np.intp), step, np.ones(1), np.ones(1))


def place(root: Path, *entries: Entry) -> Path:
    """A journal of one segment, whole and undamaged."""
    directory = root / "run" / JOURNAL_DIRECTORY
    directory.mkdir(parents=True)
    data = encode_opening(Opening(0, None)) + mark(1e9, Batch())
    data += b"".join(map(encode_entry, (Began(GROUP, 2), *entries)))
    (directory / "journal.boardd.0000000001").write_bytes(data)
    return directory


def restore(root: Path) -> None:
    life = Life(root, lambda: Group(PATIENT))
    life.die()


def test_what_fits_is_restored(tmp_path: Path) -> None:
    place(tmp_path, MEMBER, LOSS, scalars(0))
    restore(tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        (MEMBER, LOSS, scalars(HIGHEST_TAG)),
        (MEMBER, LOSS, scalars(0, b"nobody")),
        (LOSS, Left(b"nobody"), scalars(0)),
        (MEMBER, LOSS, Closed(1, np.array([3]), np.array([0]), np.array([HIGHEST_TAG], np.intp))),
        (MEMBER, Tags(0, (Tag(b"loss", "scalar", "median"),))),
        (MEMBER, Tags(0, (Tag(b"\xff", "scalar", ""),))),
        (MEMBER, Tags(0, (Tag(b"loss", "smell", ""),))),
        (State(Began(GROUP, 2), None, LOSS, (), {}, {}),),
    ],
    ids=["tag", "member", "left", "point", "reduction", "name", "kind", "state"],
)
def test_an_entry_that_does_not_fit_refuses_the_journal(
    tmp_path: Path, entries: tuple[Entry, ...]
) -> None:
    place(tmp_path, *entries)
    with pytest.raises(RefusedError):
        restore(tmp_path)


@pytest.mark.parametrize(
    "entry", [scalars(HIGHEST_TAG), scalars(0, b"nobody")], ids=["tag", "member"]
)
def test_an_entry_that_names_what_is_not_told_is_not_passed_on(
    tmp_path: Path, entry: Scalars
) -> None:
    reader = JournalReader(place(tmp_path, MEMBER, LOSS, entry))
    try:
        found = reader.read(9, 1 << 20)
        with pytest.raises(JournalError, match="not told"):
            encode_relayed(found, reader.tags, reader.members)
    finally:
        reader.close()
