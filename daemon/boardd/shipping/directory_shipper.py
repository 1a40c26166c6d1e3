"""Ships what is closed in one directory of the spool."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from boardd.runs.directories.holdings import HeldForStore
from boardd.runs.directories.spool import Spool
from boardd.runs.event_files.embedding_files import CONFIG_NAME
from boardd.shipping.plan import FileState, in_order, states
from boardd.shipping.spool_directory import SpoolDirectory
from boardd.shipping.store import Store

#: States in which nothing is to be done with a file.
_AT_REST: Final = frozenset({FileState.OPEN, FileState.SHIPPED})


class UnconfirmedError(Exception):
    """The store does not have what was put there."""


class DirectoryShipper:
    """Ships files of ``store_path``, the directory of a store; for one thread at a time.

    ``get_store`` opens the store, or returns the one that is open. ``on_shipped`` is called with
    the size of each file that is confirmed.
    """

    def __init__(
        self,
        spool: Spool,
        store_path: Path,
        get_store: Callable[[], Store],
        on_shipped: Callable[[int], None],
    ) -> None:
        self._spool = spool
        self._store_path = store_path
        self._get_store = get_store
        self._on_shipped = on_shipped

    def look(self, directory: SpoolDirectory) -> tuple[bool, float | None]:
        """Counts what waits in a directory.

        Returns whether there is something to do, and since when the oldest file waits, in
        seconds since the epoch. Raises ``OSError``.
        """
        files = directory.files()
        of_each = self._states(directory)
        closed_files = held_bytes = 0
        oldest: float | None = None
        for name, state in of_each.items():
            if state in (FileState.OPEN, FileState.CLOSED) and name in files:
                closed_files += state is FileState.CLOSED
                held_bytes += files[name].size_bytes
                secs = files[name].modified_ns / 1e9
                oldest = secs if oldest is None else min(oldest, secs)
        self._spool.recount(directory.path, HeldForStore(held_bytes, closed_files))
        return not _AT_REST.issuperset(of_each.values()), oldest

    def ship(self, directory: SpoolDirectory, *, with_config: bool) -> bool:
        """Ships what is closed, and removes what nobody needs any more.

        Returns whether that is all: not if a file was replaced meanwhile. Raises whatever the
        packages raise that talk to stores.
        """
        is_all = True
        try:
            for name in in_order(self._states(directory)):
                if name != CONFIG_NAME or with_config:
                    is_all = self._ship_file(directory, name) and is_all
                    self._remove_superseded(directory)
        finally:
            self._remove_superseded(directory)
        return is_all

    def _states(self, directory: SpoolDirectory) -> dict[str, FileState]:
        # Listed first: what is there before its directory is opened is closed, and what a
        # writer begins is later by name than what it has closed.
        files = directory.files()
        segments = self._spool.segments_at(directory.path)
        return states(
            files, directory.shipped, None if segments is None else segments.closed_through
        )

    def _remove_superseded(self, directory: SpoolDirectory) -> None:
        for name, state in self._states(directory).items():
            if state is FileState.SUPERSEDED:
                directory.remove(name)

    def _ship_file(self, directory: SpoolDirectory, name: str) -> bool:
        """Puts one file, asks for its size, and notes that it is shipped. Returns whether it is."""
        path = directory.path / name
        version = directory.version(name)
        key = os.fspath(path.relative_to(self._store_path))
        store = self._get_store()
        store.put(path, key)
        stored_bytes = store.size_bytes(key)
        if directory.version(name) != version:  # replaced meanwhile: once more
            return False
        if stored_bytes != version.size_bytes:
            raise UnconfirmedError(
                f"it has {stored_bytes} bytes of {key}, which has {version.size_bytes}"
            )
        directory.note_shipped(name, version)
        self._spool.charge(directory.path, -version.size_bytes, closed_files=-1)
        self._on_shipped(version.size_bytes)
        return True
