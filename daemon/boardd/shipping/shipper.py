"""Ships the closed files of one store's runs, on a thread of its own.

A pass looks at all directories of the store, and ships what is closed. After a failure the
store is left alone for a while that grows with each; files that are closed meanwhile are
counted and wait. A directory that fails is behind the others in the next pass.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from boardd_protos.printable import counted

from boardd.runs.directories.spool import HeldForStore, Spool, StoreReport
from boardd.runs.event_files.embedding_files import CONFIG_NAME
from boardd.shipping.plan import FileState, in_order, retry_secs, states
from boardd.shipping.spool_directory import SpoolDirectory, directories, is_of_group
from boardd.shipping.store import Store

_logger = logging.getLogger(__name__)

#: After this time without a change, a directory goes all of whose files are shipped. A client
#: that was cut off for as long has lost what tells its records from those that are written.
KEPT_SECS: Final = 7 * 86_400.0
#: Directories that may fail in one pass: each may take as long as the network lets it.
_MAX_FAILURES: Final = 3
#: Between looks for what is to be removed.
_TIDY_SECS: Final = 3_600.0
_MAX_ERROR_CHARACTERS: Final = 300
#: Parts of signed URLs, which errors may quote.
_SECRET: Final = re.compile(r"(?i)((?:signature|credential|token|key|secret)[\w-]*=)[^&\s'\"]+")


#: States in which nothing is to be done with a file.
_AT_REST: Final = frozenset({FileState.OPEN, FileState.SHIPPED})


class UnconfirmedError(Exception):
    """The store does not have what was put there."""


class StoreShipper:
    """Ships what the spool holds for one store, whose directory is ``directory``.

    ``open_store`` is called on the thread, and again after it failed. ``wall_clock`` gives
    seconds since the epoch.
    """

    def __init__(
        self,
        spool: Spool,
        directory: Path,
        open_store: Callable[[], Store],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = spool.url_of(directory)
        self._spool = spool
        self._directory = directory
        self._open_store = open_store
        self._wall_clock = wall_clock
        self._store: Store | None = None
        self._changed = threading.Condition()
        #: Passes that were asked for, and which of them are over.
        self._asked = self._done = 0
        self._is_hurried = False
        self._thread: threading.Thread | None = None
        self._retry_at = 0.0
        self._failures_in_a_row = 0
        #: Of directories, those in a row of each.
        self._failed: Counter[Path] = Counter()
        self._known: dict[Path, SpoolDirectory] = {}
        self._tidied_at: float | None = None
        self._oldest: float | None = None
        self._shipped_files = self._shipped_bytes = self._failures = 0
        self._last_error = ""

    # For any thread

    def wake(self, *, hurries: bool = False) -> None:
        """Asks for a pass. ``hurries``: also if the store is left alone after a failure."""
        with self._changed:
            self._asked += 1
            self._is_hurried = self._is_hurried or hurries
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"ship {self.url}", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def wait(self, deadline: float) -> bool:
        """Waits for the pass that was asked for last. Returns whether it is over.

        ``deadline`` is of ``time.monotonic``.
        """
        with self._changed:
            asked = self._asked
            timeout_secs = max(0.0, deadline - time.monotonic())
            return self._changed.wait_for(lambda: self._done >= asked, timeout_secs)

    @property
    def has_pending(self) -> bool:
        """Whether anything waits to be shipped, or may."""
        return self._asked > self._done or self._held.closed_files > 0

    def report(self) -> StoreReport:
        """How it is getting on."""
        held, oldest = self._held, self._oldest
        return StoreReport(
            url=self.url,
            pending_files=held.closed_files,
            pending_bytes=held.size_bytes,
            oldest_secs=0.0 if oldest is None else max(0.0, self._wall_clock() - oldest),
            shipped_files=self._shipped_files,
            shipped_bytes=self._shipped_bytes,
            failures=self._failures,
            last_error=self._last_error,
            retry_secs=max(0.0, self._retry_at - self._spool.clock())
            if self._failures_in_a_row
            else 0.0,
        )

    @property
    def _held(self) -> HeldForStore:
        return self._spool.held_for(self._directory)

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, self._wait_secs())
                asked, hurries = self._asked, self._is_hurried
                self._is_hurried = False
            try:
                self.ship(hurries=hurries)
            except Exception:  # a defect: other stores go on, and this one later
                _logger.exception("shipping to %s", self.url)
                self._note_failure("a defect of the daemon; see its log")
            with self._changed:
                self._done = asked
                self._changed.notify_all()

    def _is_due(self) -> bool:
        is_retry = self._failures_in_a_row > 0 and self._spool.clock() >= self._retry_at
        return self._asked > self._done or is_retry

    def _wait_secs(self) -> float:
        if self._failures_in_a_row:
            return max(0.0, self._retry_at - self._spool.clock())
        return _TIDY_SECS

    def ship(self, *, hurries: bool = False) -> None:
        """One pass: looks what there is, and ships it unless the store is left alone."""
        found = directories(self._directory, self._known)
        self._known = {directory.path: directory for directory in found}
        busy = self._survey(found)
        if not hurries and self._failures_in_a_row and self._spool.clock() < self._retry_at:
            return
        busy.sort(key=lambda directory: self._failed[directory.path])
        errors: list[tuple[Path, str]] = []
        for directory in busy:
            is_whole = not any(path.is_relative_to(directory.path) for path, _ in errors)
            try:
                self._ship_directory(directory, with_config=is_whole)
            except Exception as error:  # of any of the packages that talk to stores
                errors.append((directory.path, self._told(directory, error)))
                self._failed[directory.path] += 1
                if len(errors) >= _MAX_FAILURES:
                    break
            else:
                self._failed.pop(directory.path, None)
        if errors:
            self._note_failure(errors[0][1])
        else:
            self._note_success()
            self._tidy(found)

    def _survey(self, found: list[SpoolDirectory]) -> list[SpoolDirectory]:
        """Counts what waits. Returns the directories in which there is something to do."""
        busy = []
        closed_files = held_bytes = 0
        oldest: float | None = None
        for directory in found:
            with contextlib.suppress(FileNotFoundError):
                files = directory.files()
                of_each = self._states(directory)
                if not _AT_REST.issuperset(of_each.values()):
                    busy.append(directory)
                for name, state in of_each.items():
                    if state in (FileState.OPEN, FileState.CLOSED) and name in files:
                        closed_files += state is FileState.CLOSED
                        held_bytes += files[name].size_bytes
                        secs = files[name].modified_ns / 1e9
                        oldest = secs if oldest is None else min(oldest, secs)
        self._oldest = oldest
        self._spool.recount(self._directory, HeldForStore(held_bytes, closed_files))
        return busy

    def _states(self, directory: SpoolDirectory) -> dict[str, FileState]:
        # Listed first: what is there before its directory is opened is closed, and what a
        # writer begins is later by name than what it has closed.
        files = directory.files()
        segments = self._spool.segments_at(directory.path)
        return states(
            files, directory.shipped, None if segments is None else segments.closed_through
        )

    def _ship_directory(self, directory: SpoolDirectory, *, with_config: bool) -> None:
        of_each = self._states(directory)
        for name in in_order(of_each):
            if name != CONFIG_NAME or with_config:
                self._ship_file(directory, name)
        for name, state in self._states(directory).items():
            if state is FileState.SUPERSEDED:
                directory.remove(name)

    def _ship_file(self, directory: SpoolDirectory, name: str) -> None:
        """Puts one file, asks for its size, and notes that it is shipped."""
        path = directory.path / name
        version = directory.version(name)
        key = os.fspath(path.relative_to(self._directory))
        if self._store is None:
            self._store = self._open_store()
        self._store.put(path, key)
        stored_bytes = self._store.size_bytes(key)
        if directory.version(name) != version:  # replaced meanwhile: once more
            self.wake()
            return
        if stored_bytes != version.size_bytes:
            raise UnconfirmedError(
                f"it has {stored_bytes} bytes of {key}, which has {version.size_bytes}"
            )
        directory.note_shipped(name, version)
        self._shipped_files += 1
        self._shipped_bytes += version.size_bytes
        self._spool.charge(directory.path, -version.size_bytes, closed_files=-1)

    def _tidy(self, found: list[SpoolDirectory]) -> None:
        """Removes directories, now and then, that have rested for long."""
        now = self._spool.clock()
        if self._tidied_at is None or now - self._tidied_at >= _TIDY_SECS:
            self._tidied_at = now
            for directory in found:
                with contextlib.suppress(OSError):  # another time
                    self._remove_if_done(directory)

    def _remove_if_done(self, directory: SpoolDirectory) -> None:
        """Removes a directory of which nothing has changed for long, and all is shipped.

        What several ranks log together stays: its journal goes on from these files' marks.
        """
        if is_of_group(directory.path, self._directory):
            return
        files = directory.files()
        is_done = set(self._states(directory).values()) <= {FileState.SHIPPED}
        newest = max((version.modified_ns for version in files.values()), default=None)
        if self._spool.segments_at(directory.path) is not None or not is_done or newest is None:
            return
        if self._wall_clock() - newest / 1e9 > KEPT_SECS:
            self._known.pop(directory.path, None)
            directory.remove_all()

    def _told(self, directory: SpoolDirectory, error: Exception) -> str:
        text = _SECRET.sub(r"\1...", f"{type(error).__name__}: {error}")
        return f"{self._spool.url_of(directory.path)}: {text}"[:_MAX_ERROR_CHARACTERS]

    def _note_failure(self, text: str) -> None:
        if not self._failures_in_a_row:
            _logger.error(
                "shipping to %s fails, and is tried again until it succeeds; what waits: %s, %s",
                self.url,
                counted(self._held.closed_files, "file"),
                text,
            )
        self._failures += 1
        self._failures_in_a_row += 1
        self._last_error = text
        self._store = None  # credentials may have changed
        self._retry_at = self._spool.clock() + retry_secs(self._failures_in_a_row)

    def _note_success(self) -> None:
        if self._failures_in_a_row:
            _logger.info("shipping to %s goes on", self.url)
        self._failures_in_a_row, self._last_error = 0, ""
        if not self._held.closed_files:
            self._oldest = None
