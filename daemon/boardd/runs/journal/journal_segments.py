"""The segments of a group's journal: which there are, and from which on they can be replayed.

A segment tells how many entries of the journal stand before it, so that what is missing
between two is seen. An entry that was taken for torn, and is whole in one segment and the
first of the next, counts once: each segment ends where the next one begins.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import RefusedError
from boardd.events.marks import is_mark
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.event_records import EventRecords
from boardd.runs.journal.journal_entries import Opening, decode_opening

_logger = logging.getLogger(__name__)

_PREFIX: Final = "journal.boardd."
_DIGITS: Final = 10
_NAME: Final = re.compile(rf"journal\.boardd\.\d{{{_DIGITS}}}", re.ASCII)

#: A FIFO is not waited for.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What cannot be opened for these is not of a journal, or somebody has removed it.
_NOT_OURS: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})

Reading = Callable[[], AbstractContextManager[None]]


class Segment(NamedTuple):
    """A file ``name`` with the entries from ``first`` up to ``end``, that one not included."""

    name: str
    first: int
    end: int
    #: Whether the group can be restored from here on.
    is_start: bool


def segment_names(directory: int) -> list[str]:
    """Returns the names of all segments in ``directory``, a descriptor, the oldest first."""
    return sorted(filter(_NAME.fullmatch, os.listdir(directory)))


def next_segment_name(directory: int) -> str:
    """Returns a name that sorts after those. Raises ``RefusedError`` if there is none."""
    names = segment_names(directory)
    number = int(names[-1].removeprefix(_PREFIX)) + 1 if names else 1
    name = f"{_PREFIX}{number:0{_DIGITS}d}"
    if _NAME.fullmatch(name) is None:
        raise RefusedError(
            pb.INVALID_NAME, f"no journal's name sorts after {names[-1]}: remove that file"
        )
    return name


def read_segments(directory: RunDirectory, reading: Reading = nullcontext) -> list[Segment]:
    """Returns the segments that hold entries, the oldest first, whatever lies between them.

    Blocks on the disk within ``reading()``. Raises ``OSError``, and ``JournalError`` for a
    journal of a newer version.
    """
    found = []
    for name in segment_names(directory.fd):
        with opened(directory, name, reading) as records:
            if records is None or not _has_entries(records):
                continue
            opening, entries = entries_of(records)
            count = sum(1 for _ in entries)
            is_start = opening.state is not None or opening.first == 0
            found.append(Segment(name, opening.first, opening.first + count, is_start))
    return found


def next_segment(directory: RunDirectory, name: str, firsts: dict[str, int]) -> str | None:
    """Returns the segment that goes on with ``name``, None if there is none that holds entries.

    A later one that begins earlier stands in place of those between. ``firsts`` keeps how
    segments begin that were looked at. Raises ``OSError`` and ``JournalError``.
    """
    later = [one for one in segment_names(directory.fd) if one > name]
    for one in later:
        if one in firsts:
            continue
        with opened(directory, one) as records:
            if records is not None and _has_entries(records):
                firsts[one] = entries_of(records)[0].first
    return min((one for one in later if one in firsts), key=firsts.__getitem__, default=None)


def replayed(segments: Sequence[Segment]) -> list[Segment]:
    """Returns those from which the group is restored, each up to the next one's first entry.

    They are the longest row up to the newest that has no gap and begins with a start. What
    came too late, from a daemon whose journal another one had taken over, is in none of them.
    """
    row: list[Segment] = []
    for segment in reversed(segments):
        if row and segment.first > row[0].first:
            continue
        if row and row[0].first > segment.end:
            break
        row.insert(0, segment)
    while row and not row[0].is_start:
        row.pop(0)
    for lost in segments:
        if lost not in row:
            _logger.error("%s is left out: segments before it or behind it are missing", lost.name)
    return [
        segment._replace(end=min(segment.end, next_one.first) if next_one else segment.end)
        for segment, next_one in itertools.zip_longest(row, row[1:])
    ]


@contextmanager
def opened(
    directory: RunDirectory, name: str, reading: Reading = nullcontext
) -> Iterator[EventRecords | None]:
    """Opens a segment to be read; None if it is not a file of ours. Raises ``OSError``."""
    try:
        with reading():
            fd = os.open(name, _READ, dir_fd=directory.fd)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        if error.errno != errno.ENOENT:  # the writer removes segments that others still list
            _logger.warning("%s: %s; it is passed over", directory.path / name, error.strerror)
        yield None
        return
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        yield EventRecords(fd, reading) if is_file else None
    finally:
        os.close(fd)


def entries_of(records: EventRecords) -> tuple[Opening, Iterator[bytes]]:
    """Returns what opens a segment, and its whole entries as they are encoded.

    Raises ``OSError``, and ``JournalError`` for a newer version's. There must be an opening.
    """
    found = records.walk()
    opening = decode_opening(next(found))
    return opening, (data for data in found if not is_mark(data))


def _has_entries(records: EventRecords) -> bool:
    """Whether the first mark is whole. It comes behind the opening, before any entry."""
    return any(map(is_mark, itertools.islice(records.walk(), 1, 2)))
