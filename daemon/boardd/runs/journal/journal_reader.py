"""Reads a journal from its oldest entry on, while it is being written."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from boardd.core.durations import Timings
from boardd.core.groups.entries import Joined, Left, State, Tag, Tags
from boardd.events.marks import is_mark
from boardd.events.tfrecord import OVERHEAD_BYTES
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.journal.journal_entries import JournalError, decode_entry, decode_opening
from boardd.runs.journal.journal_segments import next_segment, opened, read_segments, replayed
from boardd.runs.journal.relayed_entries import NumberedEntry


@dataclass(eq=False)
class _Place:
    """Where the next record is: in which segment, and at which byte of it."""

    name: str
    offset: int


class JournalReader:
    """Reads the journal in ``directory``, which the writer keeps locked.

    For one thread at a time, which may be another than the writer's. Entries that were not
    appended whole are for the caller to leave alone. ``timings`` counts how long syncs take.

    Raises ``OSError`` and ``JournalError``.
    """

    def __init__(self, directory: Path, timings: Timings | None = None) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._directory = RunDirectory(directory, fd, 0, None, timings)
        self._lock = threading.Lock()
        #: What the entries that were read tell of, by index and by session.
        self.tags: list[Tag] = []
        self.members: dict[bytes, Joined] = {}
        #: Sessions that have left, which what was read last still names.
        self._gone: set[bytes] = set()
        self._place: _Place | None = None
        #: The numbers of the first entries of segments.
        self._firsts: dict[str, int] = {}
        #: The number of the oldest entry that was there, and of the next one.
        self.oldest = self.next_number = 0
        self._begin()

    def _begin(self) -> None:
        while row := replayed(read_segments(self._directory)):
            with opened(self._directory, row[0].name) as records:
                if records is None:  # it was removed since; the others are still there
                    continue
                state = decode_opening(next(records.walk())).state
                if state is not None:
                    self._take_state(state)
            self._place = _Place(row[0].name, 0)
            self.oldest = self.next_number = row[0].first
            return

    def read(self, end: int, max_bytes: int) -> list[NumberedEntry]:
        """Returns the next entries before number ``end``: about ``max_bytes`` of them, or one."""
        with self._lock:
            return self._read(end, max_bytes)

    def _read(self, end: int, max_bytes: int) -> list[NumberedEntry]:
        for session in self._gone:
            self.members.pop(session, None)
        self._gone.clear()
        found: list[NumberedEntry] = []
        size_bytes = 0
        while self.next_number < end and size_bytes < max_bytes:
            before, following = self.next_number, self._following()
            here = end if following is None else min(end, self._firsts[following])
            size_bytes += self._read_segment(here, max_bytes - size_bytes, found)
            if self.next_number < end and size_bytes < max_bytes and not self._go_on(following):
                if self.next_number == before:
                    raise JournalError(f"entry {before} is not in the journal")
                break
        return found

    def _read_segment(self, end: int, max_bytes: int, found: list[NumberedEntry]) -> int:
        """Adds entries of the present segment to ``found``; returns their bytes."""
        place, size_bytes = self._place, 0
        if place is None:
            return 0
        with opened(self._directory, place.name) as records:
            if records is None:  # its last entry was read, so that its writer needed it no more
                return 0
            for data in records.walk(place.offset):
                is_entry = place.offset > 0 and not is_mark(data)
                if is_entry and (self.next_number >= end or size_bytes >= max_bytes):
                    break
                place.offset += OVERHEAD_BYTES + len(data)
                if is_entry:
                    found.append(self._take(data))
                    size_bytes += len(data)
        return size_bytes

    def _take(self, data: bytes) -> NumberedEntry:
        entry = decode_entry(data)
        if isinstance(entry, State):
            self._take_state(entry)
        elif isinstance(entry, Tags):
            self._take_tags(entry)
        elif isinstance(entry, Joined):
            self.members[entry.session] = entry
            self._gone.discard(entry.session)
        elif isinstance(entry, Left):
            self._gone.add(entry.session)
        numbered = NumberedEntry(self.next_number, entry, data)
        self.next_number += 1
        return numbered

    def _take_state(self, state: State) -> None:
        self._take_tags(state.tags)
        self.members.update({member.session: member for member in state.members})

    def _take_tags(self, entry: Tags) -> None:
        del self.tags[entry.first :]
        self.tags += entry.tags

    def _following(self) -> str | None:
        """The segment behind the present one. What is here from its first entry on is not of it."""
        place = self._place
        name = "" if place is None else place.name
        return next_segment(self._directory, name, self._firsts)

    def _go_on(self, name: str | None) -> bool:
        """Turns to the segment ``name``, if it goes on where this one ends; returns whether."""
        if name is None:
            return False
        with opened(self._directory, name) as records:
            data = next(records.walk(), None) if records is not None else None
        if data is None:
            return False
        first = self._firsts[name]
        if first > self.next_number:
            raise JournalError(f"entries {self.next_number} to {first - 1} are not in the journal")
        self._place = _Place(name, OVERHEAD_BYTES + len(data))
        self._pass_over(self.next_number - first)
        return True

    def _pass_over(self, entries: int) -> None:
        """Passes over entries that were whole in the segment before as well."""
        place = self._place
        if place is None or not entries:
            return
        with opened(self._directory, place.name) as records:
            for data in records.walk(place.offset) if records is not None else ():
                if not entries:
                    return
                place.offset += OVERHEAD_BYTES + len(data)
                entries -= not is_mark(data)

    def sync(self) -> None:
        """Makes durable what was read of the present segment, and those before it are."""
        place = self._place
        if place is None:
            return
        with opened(self._directory, place.name) as records:
            if records is not None:
                with self._directory.timings.sync.measured(time.perf_counter):
                    records.sync()

    def close(self) -> None:
        """Closes the descriptor, when a read that is under way has ended."""
        with self._lock:
            self._directory.close()
