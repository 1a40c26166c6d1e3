"""What waits in the spool for its stores, by directory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple


class HeldForStore(NamedTuple):
    """What a store has not confirmed yet."""

    size_bytes: int = 0  #: with segments that are being written
    closed_files: int = 0


class Holdings:
    """Counts what waits in each directory, and the sums. May be used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in: dict[Path, HeldForStore] = {}
        self._of: dict[Path, HeldForStore] = {}
        self.size_bytes = 0  #: for all stores

    def of(self, store: Path) -> HeldForStore:
        """What waits for a store."""
        return self._of.get(store, HeldForStore())

    def stores(self) -> set[Path]:
        """Those for which something waits."""
        with self._lock:
            return set(self._of)

    def directories(self, store: Path) -> list[Path]:
        """The directories in which something waits for the store."""
        with self._lock:
            return [path for path in self._in if path.is_relative_to(store)]

    def add(self, store: Path, directory: Path, size_bytes: int, closed_files: int) -> None:
        """Adds to what waits in a directory; what is negative was shipped."""
        with self._lock:
            held = self._in.get(directory, HeldForStore())
            added = HeldForStore(held.size_bytes + size_bytes, held.closed_files + closed_files)
            self._set(store, directory, HeldForStore(*(max(0, number) for number in added)))

    def recount(self, store: Path, directory: Path, held: HeldForStore) -> None:
        """A look at the disk found so much in a directory."""
        with self._lock:
            self._set(store, directory, held)

    def _set(self, store: Path, directory: Path, held: HeldForStore) -> None:
        earlier, total = (
            self._in.pop(directory, HeldForStore()),
            self._of.pop(store, HeldForStore()),
        )
        total = HeldForStore(
            total.size_bytes + held.size_bytes - earlier.size_bytes,
            total.closed_files + held.closed_files - earlier.closed_files,
        )
        self.size_bytes += held.size_bytes - earlier.size_bytes
        if any(held):
            self._in[directory] = held
        if any(total):
            self._of[store] = total
