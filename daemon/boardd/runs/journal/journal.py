"""The journal of a group of ranks: what they logged and what was decided, in order.

Its files, the segments, are written as event files are (``live_file``): marks say which
records of which session the entries hold, so that each contribution is there once. A
segment begins with the state of the group, so that older ones can be removed when
nothing in them is needed any more. If an append broke off in the segment before, the next
one has no state, and goes only after that one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Final, NamedTuple

import numpy as np

from boardd.core.groups.entries import Entry, State
from boardd.core.runs.contents import RunContents
from boardd.core.runs.marks import NO_SESSION
from boardd.events.marks import Part
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.recovery import read_marks
from boardd.runs.journal.journal_entries import (
    JournalError,
    Opening,
    decode_entry,
    encode_entry,
    encode_opening,
)
from boardd.runs.journal.journal_segments import (
    Reading,
    Segment,
    entries_of,
    next_segment_name,
    opened,
    read_segments,
    replayed,
    segment_names,
)

#: A segment that has grown so long takes no more.
SEGMENT_BYTES: Final = 8 << 20
#: Or, if that is longer, one that is so many times as long as what it begins with.
STATE_SHARE: Final = 4


class JournalRecord(NamedTuple):
    """An entry, and up to where it holds the records of the session that it is of.

    ``session`` is the session's key in marks; it is empty for a decision.
    """

    entry: Entry
    session: bytes = NO_SESSION
    sequence: int = 0


class Journal:
    """Keeps the entries of one group in ``directory``, in which nothing else is.

    Blocks on the disk; for one thread at a time. The caller closes the directory, after
    this. Adds to ``contents`` which records of which sessions the journal holds. First
    ``replay`` it, then append.

    ``state`` returns the group's state after the entries of all appends that have returned,
    and no others. It is called during an append or a resume. ``clock`` gives seconds since
    the epoch. What is read is read within ``reading()``. ``check_claim`` is called before a
    segment is made, and raises ``RefusedError`` if another daemon has taken the journal over.

    Raises ``OSError``, ``RefusedError`` if no further segment can be made, and
    ``JournalError`` if a newer version wrote the journal.
    """

    def __init__(
        self,
        directory: RunDirectory,
        contents: RunContents,
        state: Callable[[], State],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        state_share: int = STATE_SHARE,
        clock: Callable[[], float] = time.time,
        reading: Reading = nullcontext,
        check_claim: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._segment_bytes, self._state_share = segment_bytes, state_share
        self._reading = reading
        found = read_segments(directory, reading)
        if found:
            self._recover_marks(found[-1], contents)
        self._replayed = replayed(found)
        first = self._replayed[-1].end if self._replayed else 0
        self._kind = _SegmentKind(first, state, check_claim)
        #: What appends go to. Others may keep it open (``Descriptors``) and sync it.
        self.file = LiveFile(directory, self._kind, MarkWriter(contents, clock))
        self._openings = {one.name: _Start(one.first, one.is_start) for one in found}
        #: The emission that each segment waits for whose entries are done with.
        self._awaited: dict[str, int] = {}

    @property
    def entries(self) -> int:
        """How many entries the group has had; the number of the next one, from 0."""
        return self._kind.first + self.file.written_events

    def replay(self) -> Iterator[Entry]:
        """Yields what restores the group: a ``State`` if it is not whole, then all entries.

        States at the heads of later segments are passed over: contributions to points that
        were open then are in the segments before. Raises ``OSError`` and ``JournalError``.
        """
        for position, segment in enumerate(self._replayed):
            with opened(self._directory, segment.name, self._reading) as records:
                if records is None:
                    raise JournalError(f"{segment.name} was removed while it was read")
                opening, entries = entries_of(records)
                if position == 0 and opening.state is not None:
                    yield opening.state
                for data in itertools.islice(entries, segment.end - segment.first):
                    yield decode_entry(data)

    def encode(self, records: Sequence[JournalRecord]) -> tuple[bytes, list[Part]]:
        """Returns ``records`` as ``LiveFile.append`` takes them.

        A session's sequence numbers rise. Tags and members come before what refers to them.
        """
        parts = []
        for session, group in itertools.groupby(records, key=lambda record: record.session):
            sequences = [record.sequence for record in group]
            parts.append(Part(session, np.array(sequences, np.uint64)))
        return b"".join(encode_entry(record.entry) for record in records), parts

    def append(self, records: Sequence[JournalRecord]) -> None:
        """Writes ``records``; when it returns, all of them are written.

        Raises as ``LiveFile.append``; then call ``resume``.
        """
        self.rotate()
        self.file.append(*self.encode(records))

    def resume(self) -> None:
        """Goes on with an append that raised, as ``LiveFile.resume``."""
        self.file.resume()

    def rotate(self) -> None:
        """Ends the live segment, if it is long and no append is pending."""
        path = self.file.path
        if path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            size_bytes = os.stat(path.name, dir_fd=self._directory.fd).st_size
            # A segment begins with the group's state, of which it must not consist.
            if size_bytes >= max(self._segment_bytes, self._state_share * self._kind.opening_bytes):
                self.file.end_file()

    def released(self, oldest_open: int, emitted: int, written: int) -> list[str]:
        """Returns the names of the oldest segments, those that nothing needs any more.

        ``oldest_open``: the number of the first entry that contributed to a point which is
        open; ``entries`` if none is. ``emitted``: the highest emission that has been decided.
        ``written``: the highest such that it and all before it are written. The caller makes
        these durable, then calls ``remove``. None while an append is pending, whose entries
        the group does not know. Raises ``OSError``.
        """
        if self.file.pending_bytes:
            return []
        starts = self._starts()
        last = 0
        is_free = True
        for position, (name, start) in enumerate(starts):
            if is_free and start.is_start:
                last = position
            following = starts[position + 1][1].first if position + 1 < len(starts) else None
            if following is not None and following <= oldest_open:
                self._awaited.setdefault(name, emitted)
            is_free = is_free and self._awaited.get(name, written + 1) <= written
        return [name for name, _ in starts[:last]]

    def remove(self, names: Sequence[str]) -> None:
        """Removes segments that were ``released``, once those that stay are durable.

        Raises ``OSError``; then they are released again.
        """
        if not names:
            return
        self.file.sync()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory.fd)
            self._openings.pop(name, None)
            self._awaited.pop(name, None)

    def close(self) -> None:
        """Closes the live segment, as ``LiveFile.close``."""
        self.file.close()

    def _recover_marks(self, newest: Segment, contents: RunContents) -> None:
        with opened(self._directory, newest.name, self._reading) as records:
            if records is None:
                raise JournalError(f"{newest.name} was removed while it was read")
            try:
                read_marks(records, contents)
            except ValueError as error:
                raise JournalError(f"{newest.name}: {error}") from error

    def _starts(self) -> list[tuple[str, _Start]]:
        """All segments, the oldest first; without those in which nothing is whole."""
        starts = []
        for name in segment_names(self._directory.fd):
            start = self._openings.get(name)
            if start is None:
                start = self._read_start(name)
            if start is not None:
                self._openings[name] = start
                starts.append((name, start))
        return starts

    def _read_start(self, name: str) -> _Start | None:
        with opened(self._directory, name, self._reading) as records:
            if records is None or not any(True for _ in records.walk()):
                return None
            opening, _ = entries_of(records)
        return _Start(opening.first, opening.state is not None or opening.first == 0)


class _Start(NamedTuple):
    """How a segment begins: the number of its first entry, and ``Segment.is_start``."""

    first: int
    is_start: bool


class _SegmentKind:
    """``first`` entries are in segments that were there before."""

    def __init__(
        self, first: int, state: Callable[[], State], check_claim: Callable[[], None]
    ) -> None:
        self.first = first
        self._state = state
        self._check_claim = check_claim
        #: Of the live segment.
        self.opening_bytes = 0

    def next_name(self, directory: int) -> str:
        name = next_segment_name(directory)
        # Behind the listing: who has made a segment in it had claimed the journal before.
        self._check_claim()
        return name

    def opening(self, written_events: int, is_whole: bool) -> bytes:
        first = self.first + written_events
        has_state = is_whole and first > 0
        opening = encode_opening(Opening(first, self._state() if has_state else None))
        self.opening_bytes = len(opening)
        return opening
