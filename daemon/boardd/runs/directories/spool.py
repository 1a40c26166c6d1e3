"""The spool: local directories of the runs whose logdir is the URL of an object store.

An object store takes whole objects and appends to none. So a remote run is written to a
directory of the spool, as every run is, in event files that end early, the *segments*. Those
that are closed are shipped, see ``boardd.shipping``. ``scheme://store/path`` lies at
``scheme/store/path``. One daemon at a time has a spool.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos import remote_logdir

from boardd.core.held import Held
from boardd.core.refusals import RefusedError
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.runs.directories.disk_full import DiskFullError

#: The directory of what is not shipped.
NOT_SHIPPED: Final = JOURNAL_DIRECTORY
#: A segment that has grown this large is closed after the append that made it so.
SEGMENT_BYTES: Final = 8 << 20
#: Stores that one daemon ships to; each takes a thread.
MAX_STORES: Final = 32
#: Of ``ship_secs``: a timer may fire so early.
_EARLY: Final = 0.75

_LOCK_NAME: Final = "lock"
_ID_NAME: Final = "id"


class HeldForStore(NamedTuple):
    """What a store has not confirmed yet."""

    size_bytes: int = 0  #: with segments that are being written
    closed_files: int = 0


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


class OpenSegments:
    """The segments of one run directory of the spool, which is open.

    The run's writer and the threads that ship share it. Of the event files those up to
    ``closed_through``, by name, are closed. What ranks log together lies in a journal, which
    is not shipped, and waits for room as what is.
    """

    def __init__(self, spool: Spool, path: Path) -> None:
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
        return self._size_bytes >= SEGMENT_BYTES

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
        self.id = ""
        #: Called with the directory of a store that has something to ship.
        self.on_closed: Callable[[Path], None] = lambda store: None
        #: Tells how shipping gets on.
        self.reports: Callable[[], list[StoreReport]] = list
        self._obstacle = obstacle
        self._lock = threading.Lock()
        self._lock_fd = -1
        self._held: dict[Path, HeldForStore] = {}
        self._open: dict[str, OpenSegments] = {}

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

    def prepare(self, url: str) -> None:
        """Makes the spool ready for ``url``, that of a directory in it.

        Raises ``RefusedError``: INVALID_NAME for what is no URL, UNSUPPORTED for a scheme that
        is not known or for which a package is missing, UNWRITABLE if the spool cannot be made or
        is another daemon's, and if there are too many stores.
        """
        try:
            remote_logdir.checked(url)
        except ValueError as error:
            raise RefusedError(pb.INVALID_NAME, str(error)) from error
        why = self._obstacle(url.partition("://")[0])
        if why:
            raise RefusedError(pb.UNSUPPORTED, f"logdir {url!r}: {why}")
        try:
            self.take()
        except OSError as error:
            raise RefusedError(
                pb.UNWRITABLE,
                f"logdir {url!r}: it is written to {self.path} first, and that cannot be used: "
                f"{error.strerror or error}; set the daemon's --spool-dir to another directory",
            ) from error
        store = self._store_of(self.path_of(url))
        with self._lock:
            if store not in self._held and len(self._held) >= MAX_STORES:
                raise RefusedError(
                    pb.UNWRITABLE,
                    f"logdir {url!r}: the daemon ships to {MAX_STORES} stores already, and to no "
                    "more at a time",
                )
            self._held.setdefault(store, HeldForStore())

    def take(self) -> None:
        """Makes the spool this daemon's, and goes on with what it holds. May be repeated.

        Raises ``OSError``, EBUSY if another daemon has it.
        """
        with self._lock:
            if self.id:
                return
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = os.stat(self.path)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise OSError(errno.EPERM, "others may write there")
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.path / _LOCK_NAME, flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.id = _read_id(self.path)
            except BlockingIOError:
                os.close(lock)
                raise OSError(errno.EBUSY, "another daemon uses it") from None
            except BaseException:
                os.close(lock)
                raise
            self._lock_fd = lock
            stores = [store for scheme in _folders(self.path) for store in _folders(scheme)]
            for store in stores:
                self._held.setdefault(store, HeldForStore())
        for store in stores:
            self.on_closed(store)

    def release(self) -> None:
        """Leaves the spool to another daemon. Nothing may be written to it any more."""
        with self._lock:
            fd, self._lock_fd, self.id = self._lock_fd, -1, ""
            if fd >= 0:
                os.close(fd)

    def opened(self, path: Path) -> OpenSegments:
        """A run directory was opened and locked."""
        segments = self._open[os.fspath(path)] = OpenSegments(self, path)
        return segments

    def forget(self, path: Path, segments: OpenSegments) -> None:
        """The directory was closed."""
        if self.segments_at(path) is segments:
            del self._open[os.fspath(path)]
        self.notify(path)

    def segments_at(self, path: str | os.PathLike[str]) -> OpenSegments | None:
        """Those of a run directory that is open."""
        return self._open.get(os.fspath(path))

    def held(self) -> Iterator[Held]:
        """What is held of the spool's budgets."""
        yield Held("spool-bytes", self.held_bytes, self.limit_bytes)
        with self._lock:
            yield Held("stores", len(self._held), MAX_STORES)

    @property
    def held_bytes(self) -> int:
        """What no store has confirmed yet."""
        with self._lock:
            return sum(held.size_bytes for held in self._held.values())

    def held_for(self, store: Path) -> HeldForStore:
        """What the store has not confirmed yet."""
        with self._lock:
            return self._held.get(store, HeldForStore())

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
        store = self._store_of(path)
        with self._lock:
            held = self._held.get(store, HeldForStore())
            self._held[store] = HeldForStore(
                max(0, held.size_bytes + size_bytes), max(0, held.closed_files + closed_files)
            )

    def recount(self, store: Path, held: HeldForStore) -> None:
        """A look at the disk found so much for a store."""
        with self._lock:
            self._held[store] = held

    def notify(self, path: Path) -> None:
        """Something beneath ``path`` may be shipped."""
        self.on_closed(self._store_of(path))

    def _store_of(self, path: Path) -> Path:
        scheme, store = path.relative_to(self.path).parts[:2]
        return self.path / scheme / store


def _read_id(path: Path) -> str:
    """The random id of the spool, which its first daemon gives it."""
    file = path / _ID_NAME
    with contextlib.suppress(FileNotFoundError):
        found = file.read_text("ascii", "replace").strip()
        if found.isalnum() and found.isascii():
            return found
    new = secrets.token_hex(4)
    partial = file.with_suffix(".partial")
    with open(partial, "w") as output:
        output.write(new)
        output.flush()
        os.fsync(output.fileno())
    os.replace(partial, file)
    return new


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.is_symlink()]
