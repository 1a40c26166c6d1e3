"""When what has failed is tried again. Pure.

Each directory is left alone by itself, so that an object which can never be shipped holds up
no other run's. If several directories have failed since anything succeeded, it is the store that
does not take anything, and all of it is left alone.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from boardd.shipping.plan import retry_secs

#: Directories of which it is no coincidence that each of them has failed.
_SEVERAL: Final = 2


class Backoff:
    """Which directories have failed, and from when on they may be tried again, on any clock."""

    def __init__(self) -> None:
        self.errors: dict[Path, str] = {}  #: of directories that fail, why
        self._failures: Counter[Path] = Counter()
        self._retry_at: dict[Path, float] = {}
        self._since_success: set[Path] = set()
        self._store_failures = 0
        self._store_retry_at = 0.0

    def failed(self, path: Path, error: str, now: float) -> None:
        """A directory has failed."""
        self.errors.pop(path, None)
        self.errors[path] = error  # the last one
        self._failures[path] += 1
        self._retry_at[path] = now + retry_secs(self._failures[path])
        self._since_success.add(path)

    def succeeded(self, path: Path) -> None:
        """Something of a directory was shipped, or nothing of it has to be."""
        self.errors.pop(path, None)
        self._retry_at.pop(path, None)
        self._failures.pop(path, None)

    def store_answered(self) -> None:
        """The store took something."""
        self._since_success.clear()
        self._store_failures = 0

    def pass_ended(self, now: float, *, has_failed: bool) -> None:
        """All that was due was tried, or the store was given up for now."""
        if has_failed and len(self._since_success) >= _SEVERAL:
            self._store_failures += 1
            self._store_retry_at = now + retry_secs(self._store_failures)

    def is_store_due(self, now: float) -> bool:
        """Whether the store may be asked for anything."""
        return not self._store_failures or now >= self._store_retry_at

    def is_due(self, path: Path, now: float) -> bool:
        """Whether a directory may be tried, as far as that is its own affair."""
        return now >= self._retry_at.get(path, now)

    def failures(self, path: Path) -> int:
        """How often in a row it has failed."""
        return self._failures[path]

    @property
    def retry_at(self) -> float | None:
        """When something that has failed is to be tried; None if nothing has."""
        if not self._retry_at:
            return None
        first = min(self._retry_at.values())
        return max(first, self._store_retry_at) if self._store_failures else first

    @property
    def error(self) -> str:
        """Why the last try failed; empty if everything succeeds."""
        errors = list(self.errors.values())
        return errors[-1] if errors else ""
