"""The descriptors that runs may use, so that clients find some too.

A run has its directory open all the time, for that is how it is locked, and its event
file. When descriptors get short, the event files that were not written for the longest
time are closed, and opened again when they are needed.
"""

from __future__ import annotations

import errno
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from boardd.core.held import Held
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.event_files.resting_file import RestingFile

#: For connections, clients' memory and what is open for a moment: a share of the limit.
RESERVE_SHARE: Final = 0.25
_LEAST: Final = 16


class Descriptors:
    """At most ``limit`` descriptors of runs. Any thread may call.

    ``limit`` None: what the process may open, less a reserve.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is None:
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            limit = max(_LEAST, int(allowed * (1.0 - RESERVE_SHARE)))
        self._limit = limit
        self._lock = threading.Lock()
        self._directories = 0
        #: Open files, the one that was used last at the end.
        self._open: OrderedDict[LiveFile, None] = OrderedDict()
        #: Of all files: held by who uses a file or puts it to rest.
        self._used: dict[LiveFile, threading.Lock] = {}
        self._resting: dict[LiveFile, RestingFile] = {}

    def held(self) -> Held:
        """How many descriptors are open, and the limit."""
        with self._lock:
            return Held("run-descriptors", self._directories + len(self._open), self._limit)

    def add_directory(self) -> None:
        """A directory is to be opened. Raises ``OSError`` if there are too many."""
        with self._lock:
            if self._directories >= self._limit:
                raise OSError(
                    errno.EMFILE,
                    f"{self._limit} run directories are open, as many as the limit of open "
                    "files allows; close writers or raise that limit (ulimit -n, LimitNOFILE=)",
                )
            self._directories += 1
        self._make_room()

    def remove_directory(self) -> None:
        """A directory is closed."""
        with self._lock:
            self._directories -= 1

    def using(self, file: LiveFile) -> AbstractContextManager[None]:
        """Keeps ``file`` open meanwhile. Raises ``OSError`` if it cannot be opened again."""
        return _Use(self._open_for_use, file)

    def _open_for_use(self, file: LiveFile) -> threading.Lock:
        """Opens ``file`` if it rests. Returns its lock, held."""
        with self._lock:
            lock = self._used.get(file)
            if lock is None:
                lock = self._used[file] = threading.Lock()
        lock.acquire()
        try:
            with self._lock:
                self._open[file] = None
                self._open.move_to_end(file)
                resting = self._resting.get(file)
                is_full = self._is_full
            if resting is not None:
                file.wake(resting)
                del self._resting[file]
            if is_full:
                self._make_room()
        except BaseException:
            lock.release()
            raise
        return lock

    def close(self, file: LiveFile) -> None:
        """Closes ``file``, which is not in use, for good. Raises as ``LiveFile.close``."""
        with self._lock:
            lock = self._used.setdefault(file, threading.Lock())
        with lock:  # another thread may be putting it to rest
            with self._lock:
                self._open.pop(file, None)
                self._used.pop(file, None)
                self._resting.pop(file, None)
            file.close()

    @property
    def _is_full(self) -> bool:
        return self._directories + len(self._open) > self._limit

    def _make_room(self) -> None:
        while (oldest := self._take_oldest()) is not None:
            file, lock = oldest
            try:
                resting = file.rest()  # may take time, on a network file system
                if resting is not None:
                    self._resting[file] = resting
            finally:
                lock.release()

    def _take_oldest(self) -> tuple[LiveFile, threading.Lock] | None:
        """The file to be put to rest, with its lock held; None if there is room or no such file."""
        with self._lock:
            if not self._is_full:
                return None
            for file in self._open:
                lock = self._used[file]
                if lock.acquire(blocking=False):
                    del self._open[file]
                    return file, lock
        return None


class _Use:
    """The time in which a file is used: ``begin`` returns its lock, held."""

    __slots__ = ("_begin", "_file", "_lock")

    def __init__(self, begin: Callable[[LiveFile], threading.Lock], file: LiveFile) -> None:
        self._begin, self._file = begin, file

    def __enter__(self) -> None:
        self._lock = self._begin(self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
