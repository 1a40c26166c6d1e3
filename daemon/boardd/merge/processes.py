"""Which process logged what: a later one that logs a step again has gone back to it.

The marks in boardd's own files tell sessions, and each process has one of its own. A file of
another program is written by one process.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.events.event import SOURCE_WRITER
from boardd.events.marks import events_in
from boardd.events.marks_pb2 import Batch

#: The number of what belongs to no process: what a daemon says itself.
NO_PROCESS: Final = -1


class Processes:
    """Numbers the processes of one rank in the order in which they first logged.

    Files are taken in their order, and of each its records.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._file = b""
        self.is_ours = False  #: whether boardd wrote the live file
        #: Sessions by their numbers in the live file.
        self._sessions: list[bytes] = []
        #: Whose the next events are: a process, and how many.
        self._parts: list[tuple[int, int]] = []
        self._last = NO_PROCESS

    def begin_file(self, number: int) -> None:
        """Goes on with the next file."""
        self._file = b"file %d" % number
        self.is_ours = False
        self._sessions, self._parts, self._last = [], [], NO_PROCESS

    def take_writer(self, writer: str) -> None:
        """Takes the name of the program that says it writes the live file."""
        self.is_ours = writer == SOURCE_WRITER

    def take_mark(self, batch: Batch) -> None:
        """Takes a mark, which tells whose the events behind it are."""
        if batch.offset:
            self._sessions = [entry.session for entry in batch.table if entry.session]
        self._parts = []
        for part in batch.parts:
            session = part.session
            if session:
                self._sessions.append(session)
            elif 0 < part.known <= len(self._sessions):
                session = self._sessions[part.known - 1]
            process = self._number(session) if session else NO_PROCESS
            self._parts.append((process, events_in(part.runs)))
        self._parts.reverse()

    def of_next(self, events: int) -> NDArray[np.intp]:
        """The processes of the next ``events`` events, intp[events]."""
        found = np.empty(events, np.intp)
        at = 0
        while at < events and self._parts:
            process, count = self._parts.pop()
            taken = min(count, events - at)
            found[at : at + taken] = self._last = process
            at += taken
            if taken < count:
                self._parts.append((process, count - taken))
        if at < events:
            found[at:] = self._last if self.is_ours else self._number(self._file)
        return found

    def _number(self, name: bytes) -> int:
        return self._numbers.setdefault(name, len(self._numbers))
