"""One directory of the spool, as it is on the disk: its files, and which of them are shipped.

What is shipped is noted in a file of the directory. If that is lost, or a daemon is killed
before it is written, files are shipped once more, which changes nothing in the store.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from boardd.runs.directories.spool import NOT_SHIPPED
from boardd.runs.directories.spool_names import LEDGER_NAME, PARTIAL_LEDGER_NAME
from boardd.runs.event_files.event_records import EventRecords
from boardd.runs.event_files.recovery import has_marks
from boardd.shipping.plan import FileVersion, Shipped, is_event_file

_logger = logging.getLogger(__name__)


class SpoolDirectory:
    """The files of ``path``. Blocks on the disk; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shipped = _read_ledger(path / LEDGER_NAME)
        self._is_noted = True

    def files(self) -> dict[str, FileVersion]:
        """The files that are to be shipped some time or were. Raises ``OSError``."""
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    version = _version(entry.stat(follow_symlinks=False))
                    # One in which nothing was written yet, by a daemon that was killed then.
                    if version.size_bytes or not is_event_file(entry.name):
                        found[entry.name] = version
        return found

    def version(self, name: str) -> FileVersion:
        """That of a file now. Raises ``OSError``."""
        return _version(os.stat(self.path / name, follow_symlinks=False))

    def note_shipped(self, name: str, version: FileVersion) -> None:
        """Notes that the store has confirmed this version. Raises ``OSError`` if it is gone."""
        self.shipped[name] = Shipped(version, is_event_file(name) and self._has_marks(name))
        self._write_ledger()

    def remove(self, name: str) -> None:
        """Removes a file that is shipped. A disk that refuses is asked again another time."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("%s, which is shipped, stays: %s", self.path / name, error)
            return
        self.shipped.pop(name, None)
        self._write_ledger()

    def remove_all(self) -> None:
        """Removes the directory, all of whose files are shipped. Raises ``OSError``.

        Its run may not be open.
        """
        with os.scandir(self.path) as entries:
            own = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        for name in own:
            (self.path / name).unlink(missing_ok=True)
        self.shipped.clear()

    def _has_marks(self, name: str) -> bool:
        fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return has_marks(EventRecords(fd))
        finally:
            os.close(fd)

    def _write_ledger(self) -> None:
        """Notes it on the disk as well, if that takes it: what is shipped makes room there."""
        text = json.dumps(
            {name: [*one.version, one.has_marks] for name, one in self.shipped.items()}
        )
        partial = self.path / PARTIAL_LEDGER_NAME
        try:
            partial.write_text(text, "utf-8", "surrogateescape")
            os.replace(partial, self.path / LEDGER_NAME)
        except OSError as error:
            if self._is_noted:
                _logger.warning("%s: what is shipped cannot be noted: %s", self.path, error)
            self._is_noted = False
        else:
            self._is_noted = True


def directories(store: Path, known: Mapping[Path, SpoolDirectory]) -> list[SpoolDirectory]:
    """Those beneath the directory of a store, inner ones first; ``known`` were found earlier."""
    found = []
    for path, folders, _ in os.walk(store):
        folders[:] = sorted((name for name in folders if name != NOT_SHIPPED), reverse=True)
        here = Path(path)
        found.append(known.get(here) or SpoolDirectory(here))
    return found[::-1]


def is_of_group(path: Path, store: Path) -> bool:
    """Whether ``path``, or a directory above it in that of its store, has a journal."""
    above = [parent for parent in path.parents if parent.is_relative_to(store)]
    return any((one / NOT_SHIPPED).is_dir() for one in (path, *above))


def _version(status: os.stat_result) -> FileVersion:
    return FileVersion(status.st_size, status.st_mtime_ns, status.st_ino)


def _read_ledger(path: Path) -> dict[str, Shipped]:
    try:
        if not stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode):
            return {}
        found = json.loads(path.read_text("utf-8", "surrogateescape"))
        return {
            name: Shipped(FileVersion(*map(int, numbers)), bool(has_marks_))
            for name, (*numbers, has_marks_) in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
