"""Ships the closed files of one store's runs, on a thread of its own.

A pass ships what is closed in the directories that it was told of. The first and one each hour
look at all directories of the store. What fails is left alone for a while that grows with each
failure, see ``backoff``; files that are closed meanwhile are counted and wait. The thread ends
when nothing of the store waits or is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from boardd_protos.printable import counted

from boardd.runs.directories.holdings import HeldForStore
from boardd.runs.directories.spool import NOT_SHIPPED, Spool, StoreReport
from boardd.runs.event_files.embedding_files import CONFIG_NAME
from boardd.shipping.backoff import Backoff
from boardd.shipping.directory_shipper import DirectoryShipper
from boardd.shipping.masks import masked
from boardd.shipping.spool_directory import SpoolDirectory, directories
from boardd.shipping.store import Store
from boardd.shipping.tidying import tidy

_logger = logging.getLogger(__name__)

#: Failures in a row after which a pass ends: each may take as long as the network lets it.
_MAX_FAILURES: Final = 3
#: Between looks at all directories.
_LOOK_SECS: Final = 3_600.0
_MAX_ERROR_CHARACTERS: Final = 300


class StoreShipper:
    """Ships what the spool holds for one store, whose directory is ``directory``.

    ``open_store`` is called on the thread, and again after it failed. ``on_rest`` is called on
    the thread when it ends. ``wall_clock`` gives seconds since the epoch.
    """

    def __init__(
        self,
        spool: Spool,
        directory: Path,
        open_store: Callable[[], Store],
        wall_clock: Callable[[], float] = time.time,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = spool.url_of(directory)
        self._spool = spool
        self._directory = directory
        self._open_store = open_store
        self._wall_clock = wall_clock
        self._on_rest = on_rest
        self._store: Store | None = None
        self._files = DirectoryShipper(spool, directory, self._get_store, self._count)
        self._changed = threading.Condition()
        #: Passes that were asked for, and which of them are over.
        self._asked = self._done = 0
        self._is_hurried = False
        #: In which something has changed; the store's own: in any.
        self._told: set[Path] = {directory}
        self._thread: threading.Thread | None = None
        self._backoff = Backoff()
        self._known: dict[Path, SpoolDirectory] = {}
        #: Directories in which there is something to do.
        self._busy: dict[Path, SpoolDirectory] = {}
        #: Since when the oldest file of a directory waits.
        self._oldest: dict[Path, float] = {}
        self._looked_at: float | None = None
        self._shipped_files = self._shipped_bytes = self._failures = 0

    # For any thread

    def wake(self, path: Path | None = None, *, hurries: bool = False) -> None:
        """Asks for a pass over ``path``, None: over all directories.

        ``hurries``: also over what is left alone after a failure.
        """
        with self._changed:
            self._asked += 1
            self.tell(path or self._directory)
            self._is_hurried = self._is_hurried or hurries
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"ship {self.url}", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def tell(self, path: Path) -> None:
        """Has the next pass look at ``path``, the directory of the store for all of it."""
        with self._changed:
            self._told.add(path)

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

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing was asked for that is not done, and nothing of the store waits."""
        return self._thread is None

    def report(self) -> StoreReport:
        """How it is getting on."""
        held, oldest = self._held, min(list(self._oldest.values()), default=None)
        retry_at = self._backoff.retry_at
        return StoreReport(
            url=self.url,
            pending_files=held.closed_files,
            pending_bytes=held.size_bytes,
            oldest_secs=0.0 if oldest is None else max(0.0, self._wall_clock() - oldest),
            shipped_files=self._shipped_files,
            shipped_bytes=self._shipped_bytes,
            failures=self._failures,
            last_error=self._backoff.error,
            retry_secs=0.0 if retry_at is None else max(0.0, retry_at - self._spool.clock()),
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
                self._fail(self._directory, "a defect of the daemon; see its log")
                self.tell(self._directory)
            with self._changed:
                self._done = asked
                self._changed.notify_all()
                if self._asked == asked and not self._spool.is_busy(self._directory):
                    self._thread = None
                    break
        self._on_rest()

    def _is_due(self) -> bool:
        retry_at = self._backoff.retry_at
        is_retry = retry_at is not None and self._spool.clock() >= retry_at
        return self._asked > self._done or is_retry

    def _wait_secs(self) -> float:
        retry_at = self._backoff.retry_at
        return _LOOK_SECS if retry_at is None else max(0.0, retry_at - self._spool.clock())

    def ship(self, *, hurries: bool = False) -> None:
        """One pass: looks what there is, and ships what is not left alone."""
        if not self._spool.id:  # given back to others
            return
        found = self._look()
        now = self._spool.clock()
        if hurries or self._backoff.is_store_due(now):
            due = [path for path in self._busy if hurries or self._backoff.is_due(path, now)]
            due.sort(key=self._order)
            self._ship(due)
        if found and not self._backoff.errors:
            tidy(self._spool, self._directory, found, self._wall_clock())

    def _look(self) -> list[SpoolDirectory]:
        """Looks at what has changed. Returns all directories if it was a look at all."""
        with self._changed:
            told, self._told = self._told, set()
        now = self._spool.clock()
        is_hour_over = self._looked_at is None or now - self._looked_at >= _LOOK_SECS
        if is_hour_over or self._directory in told:
            self._looked_at = now
            found = directories(self._directory, self._known)
            self._known = {directory.path: directory for directory in found}
            for directory in found:
                self._look_at(directory)
            held = self._spool.held_in(self._directory)
            for path in {*self._busy, *self._backoff.errors, *held} - self._known.keys():
                self._forget(path)
            return found
        for path in told:
            if NOT_SHIPPED in path.parts:
                continue
            # Side files lie beneath the directory whose config names them.
            is_deep = (path / CONFIG_NAME).exists()
            known = self._known.get(path) or SpoolDirectory(path)
            for directory in directories(path, self._known) if is_deep else [known]:
                self._known[directory.path] = directory
                self._look_at(directory)
        return []

    def _look_at(self, directory: SpoolDirectory) -> None:
        try:
            is_busy, oldest = self._files.look(directory)
        except FileNotFoundError:
            self._forget(directory.path)
            return
        except OSError as error:
            self._fail(directory.path, str(error))
            self.tell(directory.path)
            return
        if is_busy:
            self._busy[directory.path] = directory
        else:
            self._busy.pop(directory.path, None)
            self._backoff.succeeded(directory.path)
        if oldest is None:
            self._oldest.pop(directory.path, None)
        else:
            self._oldest[directory.path] = oldest

    def _forget(self, path: Path) -> None:
        """A directory is gone."""
        self._known.pop(path, None)
        self._busy.pop(path, None)
        self._oldest.pop(path, None)
        self._backoff.succeeded(path)
        self._spool.recount(path, HeldForStore())

    def _ship(self, due: list[Path]) -> None:
        failures = in_a_row = 0
        for path in due:
            directory = self._busy[path]
            is_whole = not self._failing_beneath(path)
            shipped_files = self._shipped_files
            try:
                if not self._files.ship(directory, with_config=is_whole):
                    self.wake(path)
            except Exception as error:  # of any of the packages that talk to stores
                failures += 1
                in_a_row += 1
                self._fail(path, f"{type(error).__name__}: {error}")
            else:
                self._succeed(path)
            if self._shipped_files > shipped_files:
                in_a_row = 0
                self._backoff.store_answered()
            self._look_at(directory)
            if in_a_row >= _MAX_FAILURES:
                break
        self._backoff.pass_ended(self._spool.clock(), has_failed=failures > 0)

    def _order(self, path: Path) -> tuple[int, int]:
        """What fails comes last, and a directory behind those beneath it, which it names."""
        within = (path, *self._failing_beneath(path))
        return max(map(self._backoff.failures, within)), -len(path.parts)

    def _failing_beneath(self, path: Path) -> list[Path]:
        return [one for one in self._backoff.errors if one != path and one.is_relative_to(path)]

    def _get_store(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _count(self, size_bytes: int) -> None:
        self._shipped_files += 1
        self._shipped_bytes += size_bytes

    def _fail(self, path: Path, error: str) -> None:
        text = f"{self._spool.url_of(path)}: {masked(error)}"[:_MAX_ERROR_CHARACTERS]
        if not self._backoff.errors:
            _logger.error(
                "shipping to %s fails, and is tried again until it succeeds; what waits: %s, %s",
                self.url,
                counted(self._held.closed_files, "file"),
                text,
            )
        self._failures += 1
        self._store = None  # credentials may have changed
        self._backoff.failed(path, text, self._spool.clock())

    def _succeed(self, path: Path) -> None:
        has_failed = bool(self._backoff.errors)
        self._backoff.succeeded(path)
        if has_failed and not self._backoff.errors:
            _logger.info("shipping to %s goes on", self.url)
