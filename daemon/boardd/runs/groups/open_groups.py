"""Which groups are not over, noted in a file for the next daemon if this one is killed.

Their journals have all that is needed to finish them, and the file says where these are. It
is a hint and no more: a group whose run somebody logs to is found without it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)

#: Groups that are read from the file; more are found when somebody logs to their run.
MAX_GROUPS: Final = 1024
_MAX_BYTES: Final = 8 << 20


class OpenGroups:
    """The file at ``path``. Any thread may call ``write``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._wanted: list[str] = []
        self._written: list[str] = []

    def note(self, directories: Iterable[str]) -> None:
        """Notes the groups, by the directories that their ranks share, for ``write``."""
        self._wanted = sorted(directories)

    def write(self) -> None:
        """Brings the file up to what was noted last; removes it if that is nothing."""
        with self._lock:
            wanted = self._wanted
            if wanted == self._written:
                return
            try:
                self._replace(wanted)
            except OSError as error:
                _logger.warning("%s: which groups are open is not noted: %s", self._path, error)
                return
            self._written = wanted

    def _replace(self, wanted: list[str]) -> None:
        if not wanted:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            return
        new = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new, flags, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(wanted, file)
        os.replace(new, self._path)

    def read(self) -> list[str]:
        """Returns the groups that an earlier daemon left open, by their directories."""
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                found = json.loads(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            _logger.warning("%s: which groups are open is not known: %s", self._path, error)
            return []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            _logger.warning("%s: is no list of directories", self._path)
            return []
        # Until they are opened, they are as open as they were.
        self._written = self._wanted = sorted(found)[:MAX_GROUPS]
        return self._wanted
