"""What of a run's event files a power cut may lose, and which fsync failed.

A failed fsync is never tried again, because the kernel may have dropped the pages and a
second one would report success.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from boardd.runs.directories.logdir import RunDirectory

_logger = logging.getLogger(__name__)


class SyncFailedError(OSError):
    """An fsync failed; what was written since the last good one may be lost in a power cut.

    ``suspect_bytes`` says how much that is. Nothing can be retried; writing
    goes on in a new file. Also raised for a file that was removed, or replaced by
    another: what it held is where nobody looks for it.
    """

    def __init__(self, error: OSError, path: Path, suspect_bytes: int) -> None:
        super().__init__(error.errno, error.strerror, str(path))
        self.suspect_bytes = suspect_bytes

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.suspect_bytes} bytes are in doubt"


class Durability:
    """For the one who writes the files of ``directory``."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._unsynced_bytes = 0
        self._file_bytes = 0
        self._directory_is_synced = True
        # Also of a file that was left between two syncs.
        self._failure: SyncFailedError | None = None

    @property
    def is_due(self) -> bool:
        """Whether an fsync would change anything."""
        return self._unsynced_bytes > 0 or not self._directory_is_synced

    @property
    def has_failed(self) -> bool:
        """Whether ``raise_failure`` would raise one."""
        return self._failure is not None

    def begin_file(self) -> None:
        """A file was made."""
        self._file_bytes = 0
        self._directory_is_synced = False

    def add(self, size_bytes: int) -> None:
        """So much was written."""
        self._unsynced_bytes += size_bytes
        self._file_bytes += size_bytes

    def leave_file(self) -> None:
        """The file is given up: a sync reaches the next one only."""
        self._unsynced_bytes = 0

    def sync(self, fd: int, path: Path | None) -> None:
        """One fsync of the file at ``path``, and of the directory if it has a new entry."""
        try:
            with self._directory.timings.sync.measured(time.perf_counter):
                os.fsync(fd)
                if not self._directory_is_synced:
                    self._directory.sync()
            self._directory_is_synced = True
        except OSError as error:
            self.fail(error, path)
        self._unsynced_bytes = 0

    def fail(self, error: OSError, path: Path | None) -> None:
        """Notes that all that was not synced may be lost."""
        self._fail(error, path, self._unsynced_bytes)

    def lose_file(self, error: OSError, path: Path | None) -> None:
        """Notes that all of the live file is lost."""
        self._fail(error, path, self._file_bytes)

    def _fail(self, error: OSError, path: Path | None, suspect_bytes: int) -> None:
        earlier = self._failure.suspect_bytes if self._failure else 0
        self._failure = SyncFailedError(
            error, path or self._directory.path, earlier + suspect_bytes
        )
        self._unsynced_bytes = 0
        _logger.error("not synced: %s", self._failure)

    def raise_failure(self) -> None:
        """Raises what failed since the last call, if anything did."""
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback names this frame
