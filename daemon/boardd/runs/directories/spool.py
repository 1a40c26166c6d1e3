"""The spool: local directories of the runs whose logdir is the URL of an object store.

An object store takes whole objects and appends to none. So a remote run is written to a
directory of the spool, as every run is, in event files that end early, the *segments*. Those
that are closed are shipped, see ``boardd.shipping``. ``scheme://store/path`` lies at
``scheme/store/path``. One daemon at a time has a spool.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.held import Held
from boardd.core.refusals import RefusedError
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.runs.directories.disk_full import FULL, PASSING, DiskFullError
from boardd.runs.directories.holdings import HeldForStore, Holdings
from boardd.runs.directories.open_segments import OpenDirectories, OpenSegments
from boardd.runs.directories.spool_lock import SpoolBusyError, SpoolLock
from boardd.runs.directories.spool_names import check_url

#: The directory of what is not shipped.
NOT_SHIPPED: Final = JOURNAL_DIRECTORY
#: Stores that one daemon ships to at a time; each takes a thread.
MAX_STORES: Final = 32


@dataclass(frozen=True)
class StoreReport:
    """How the shipping to one store is getting on."""

    url: str  #: scheme and store, as ``s3://bucket``
    pending_files: int  #: closed files that the store has not confirmed
    pending_bytes: int  #: what it has not confirmed, segments that are being written included
    oldest_secs: float  #: for how long the oldest of that has waited
    shipped_files: int  #: since the daemon started, as are the counts that follow
    shipped_bytes: int
    failures: int
    last_error: str  #: why the last try failed; empty once one succeeds
    retry_secs: float  #: until the next try


class Spool:
    """Where remote runs are written; see the module. May be used by any thread.

    ``limit_bytes`` bounds what waits for its store, ``ship_secs`` the age of a segment.
    ``obstacle`` says why a scheme cannot be shipped to, empty if it can; it may take a while.
    """

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        ship_secs: float,
        obstacle: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self.limit_bytes = limit_bytes
        self.ship_secs = ship_secs
        self.clock = clock
        #: Called with a directory in which something may be shipped, or that of a whole store.
        self.on_closed: Callable[[Path], None] = lambda path: None
        #: Tells how shipping gets on.
        self.reports: Callable[[], list[StoreReport]] = list
        self._obstacle = obstacle
        self._lock = threading.Lock()
        self._owned = SpoolLock(self.path)
        self._holdings = Holdings()
        self._open = OpenDirectories()
        #: Held while directories are made for a run, and while such are removed.
        self.changing = threading.Lock()

    @property
    def id(self) -> str:
        """The random id of the spool, which its first daemon gave it; empty while not taken."""
        return self._owned.id

    def holds(self, path: Path) -> bool:
        """Whether ``path`` is the spool's or beneath it."""
        return path.is_relative_to(self.path)

    def path_of(self, url: str) -> Path:
        """The directory of ``url``, which is in its one form."""
        scheme, _, rest = url.partition("://")
        return self.path / scheme / rest

    def url_of(self, path: Path) -> str:
        """What the directory ``path`` of the spool stands for. Raises ``ValueError``."""
        scheme, *names = path.relative_to(self.path).parts or ("",)
        return f"{scheme}://{'/'.join(names)}"

    def check(self, url: str) -> None:
        """Checks that runs may lie at ``url``, that of a directory in the spool. Changes nothing.

        Raises ``RefusedError``: INVALID_NAME for what is no URL and for names that the spool
        needs itself, UNSUPPORTED for a scheme for which a package is missing.
        """
        check_url(url)
        why = self._obstacle(url.partition("://")[0])
        if why:
            raise RefusedError(pb.UNSUPPORTED, f"logdir {url!r}: {why}")

    def prepare(self, path: Path) -> None:
        """Makes the spool ready for a run at ``path`` in it, for as long as the daemon runs.

        Raises ``RefusedError``, UNWRITABLE, if the spool cannot be made, and if there are too
        many stores. Raises ``SpoolBusyError`` while another daemon has it, ``DiskFullError``
        and ``OSError`` for trouble that may pass as well.
        """
        try:
            self._take(is_used=True)
        except SpoolBusyError:
            raise
        except OSError as error:
            if error.errno in FULL:
                raise DiskFullError(error.errno, error.strerror, str(self.path)) from error
            if error.errno in PASSING:
                raise
            raise RefusedError(
                pb.UNWRITABLE,
                f"logdir {self.url_of(path)!r}: it is written to {self.path} first, and that "
                f"cannot be used: {error.strerror or error}; set the daemon's --spool-dir to "
                "another directory",
            ) from error
        self._check_stores(self.store_of(path))

    def _check_stores(self, store: Path) -> None:
        busy = self._busy_stores
        if store not in busy and len(busy) >= MAX_STORES:
            raise RefusedError(
                pb.UNWRITABLE,
                f"{self.url_of(store)} would be one store too many: the daemon ships to "
                f"{MAX_STORES} at a time; close the runs of another, or start another daemon with "
                "its own --socket and --spool-dir",
            )

    @property
    def _busy_stores(self) -> set[Path]:
        """Those for which something waits or a run is open."""
        return self._holdings.stores() | self._open.stores()

    def is_busy(self, store: Path) -> bool:
        """Whether something waits for the store, or one of its runs is open."""
        return store in self._busy_stores

    def take(self) -> None:
        """Makes the spool this daemon's, and goes on with what it holds. May be repeated.

        Raises ``OSError``, and ``SpoolBusyError`` if another daemon has it.
        """
        self._take(is_used=False)

    def _take(self, *, is_used: bool) -> None:
        with self._lock:
            is_new = self._owned.take()
            self._owned.is_used = self._owned.is_used or is_used
            stores = []
            try:
                if is_new:
                    stores = _stores_with_files(self.path)
            except OSError:
                self._owned.release()
                raise
        for store in stores:
            self.on_closed(store)

    def release(self) -> None:
        """Leaves the spool to another daemon. Nothing may be written to it any more."""
        with self._lock:
            self._owned.release()

    def release_unused(self) -> bool:
        """Leaves the spool to others unless a run was opened in it. Returns whether it did."""
        with self._lock:
            if self._owned.is_used:
                return False
            self._owned.release()
            return True

    def opened(self, path: Path) -> OpenSegments:
        """A run directory was opened and locked. Raises ``RefusedError`` as ``prepare``."""
        store, segments = self.store_of(path), OpenSegments(self, path)
        with self._lock:
            self._check_stores(store)
            self._open.add(store, path, segments)
        return segments

    def forget(self, path: Path, segments: OpenSegments) -> None:
        """The directory was closed."""
        self._open.remove(self.store_of(path), path, segments)
        self.notify(path)

    def segments_at(self, path: str | os.PathLike[str]) -> OpenSegments | None:
        """Those of a run directory that is open."""
        return self._open.at(path)

    def held(self) -> Iterator[Held]:
        """What is held of the spool's budgets."""
        yield Held("spool-bytes", self.held_bytes, self.limit_bytes)
        yield Held("stores", len(self._busy_stores), MAX_STORES)

    @property
    def held_bytes(self) -> int:
        """What no store has confirmed yet."""
        return self._holdings.size_bytes

    def held_for(self, store: Path) -> HeldForStore:
        """What the store has not confirmed yet."""
        return self._holdings.of(store)

    def held_in(self, store: Path) -> list[Path]:
        """The directories in which something waits for the store."""
        return self._holdings.directories(store)

    def check_room(self) -> None:
        """Raises ``DiskFullError`` while as much is held as may be."""
        held_bytes = self.held_bytes
        if held_bytes >= self.limit_bytes:
            raise DiskFullError(
                errno.EDQUOT,
                f"{held_bytes} bytes wait to be shipped to their store, and --spool-bytes are "
                f"{self.limit_bytes}",
                str(self.path),
            )

    def charge(self, path: Path, size_bytes: int, *, closed_files: int = 0) -> None:
        """Bytes were written to be shipped, files were closed; what is negative was shipped."""
        self._holdings.add(self.store_of(path), path, size_bytes, closed_files)

    def recount(self, path: Path, held: HeldForStore) -> None:
        """A look at the disk found so much in a directory."""
        self._holdings.recount(self.store_of(path), path, held)

    def notify(self, path: Path) -> None:
        """Something in ``path``, or that it names, may be shipped."""
        self.on_closed(path)

    def store_of(self, path: Path) -> Path:
        """The directory of the store in which ``path`` lies."""
        scheme, store = path.relative_to(self.path).parts[:2]
        return self.path / scheme / store


def _stores_with_files(path: Path) -> list[Path]:
    return [
        store
        for scheme in _folders(path)
        for store in _folders(scheme)
        if any(files for _, _, files in os.walk(store))
    ]


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.is_symlink()]
