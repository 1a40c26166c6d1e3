"""The event files of one run that are shipped, as their writer and the shipper share them."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Final, Protocol

from boardd.core import budget
from boardd.core.runs.names import JOURNAL_DIRECTORY

#: Of ``ship_secs``: a timer may fire so early.
_EARLY: Final = 0.75


class SegmentHolder(Protocol):
    """What segments need of the spool that they lie in."""

    ship_secs: float  #: the age at which a segment ends

    @property
    def id(self) -> str:
        """The random id of the spool."""

    def clock(self) -> float:
        """Seconds since some moment."""

    def check_room(self) -> None:
        """Raises ``DiskFullError`` while as much is held as may be."""

    def charge(self, path: Path, size_bytes: int, *, closed_files: int = 0) -> None:
        """Bytes were written to be shipped, files were closed."""

    def notify(self, path: Path) -> None:
        """Something in ``path`` may be shipped."""

    def forget(self, path: Path, segments: OpenSegments) -> None:
        """The directory was closed."""


class OpenSegments:
    """The segments of one run directory of the spool, which is open.

    The run's writer and the threads that ship share it. Of the event files those up to
    ``closed_through``, by name, are closed. What ranks log together lies in a journal, which
    is not shipped, and waits for room as what is.
    """

    def __init__(self, spool: SegmentHolder, path: Path) -> None:
        self.closed_through = ""
        self._is_journal = path.name == JOURNAL_DIRECTORY
        self._spool = spool
        self._path = path
        self._size_bytes = 0
        self._began: float | None = None

    @property
    def hostname(self) -> str:
        """This host and this spool, which names of objects are to hold."""
        return f"{socket.gethostname()}.{self._spool.id}"

    def check_room(self) -> None:
        """Raises ``DiskFullError`` while the spool holds as much as it may."""
        self._spool.check_room()

    def wrote(self, size_bytes: int) -> bool:
        """Notes an append to the live file. Returns whether the file is to be closed."""
        if self._is_journal:
            return False
        if self._began is None:
            self._began = self._spool.clock()
        self._size_bytes += size_bytes
        self._spool.charge(self._path, size_bytes)
        return self._size_bytes >= budget.SPOOL_SEGMENT_BYTES

    def wrote_side_files(self, size_bytes: int) -> None:
        """Notes files that are written by now, and may be shipped."""
        self._spool.charge(self._path, size_bytes)
        self._spool.notify(self._path)

    @property
    def is_begun(self) -> bool:
        """Whether the live file holds anything."""
        return self._began is not None

    @property
    def is_due(self) -> bool:
        """Whether the live file has been open for as long as it may."""
        age_secs = 0.0 if self._began is None else self._spool.clock() - self._began
        return self._began is not None and age_secs >= _EARLY * self._spool.ship_secs

    def left(self, name: str) -> None:
        """Nothing more is written to the file ``name``."""
        self.closed_through = max(self.closed_through, name)
        if self._began is not None:
            self._spool.charge(self._path, 0, closed_files=1)
        self._size_bytes, self._began = 0, None
        self._spool.notify(self._path)

    def end(self) -> None:
        """The directory is no longer open."""
        self._spool.forget(self._path, self)


class OpenDirectories:
    """The run directories of the spool that are open. May be used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, OpenSegments] = {}
        #: How many of them each store has.
        self._of: Counter[Path] = Counter()

    def at(self, path: str | os.PathLike[str]) -> OpenSegments | None:
        """Those of a run directory, if it is open."""
        return self._open.get(os.fspath(path))

    def stores(self) -> set[Path]:
        """Those of whose runs one is open."""
        with self._lock:
            return set(self._of)

    def add(self, store: Path, path: Path, segments: OpenSegments) -> None:
        """A directory was opened."""
        with self._lock:
            self._open[os.fspath(path)] = segments
            self._of[store] += 1

    def remove(self, store: Path, path: Path, segments: OpenSegments) -> None:
        """It was closed."""
        with self._lock:
            if self.at(path) is segments:
                del self._open[os.fspath(path)]
                self._of[store] -= 1
                if not self._of[store]:
                    del self._of[store]
