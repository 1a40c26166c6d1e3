"""The live event file of one run, which TensorBoard reads."""

from __future__ import annotations

import time
from collections.abc import Callable

from boardd.events import event
from boardd.runs.directories.logdir import DiskFullError, RunDirectory
from boardd.runs.event_files.durability import SyncFailedError
from boardd.runs.event_files.event_file_names import EventFileNames
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.event_files.mark_writer import MarkWriter

__all__ = ["DiskFullError", "EventFile", "SyncFailedError"]


class EventFile(LiveFile):
    """Appends encoded events; see ``LiveFile``.

    ``filename_suffix`` ends the name of every file: no slash, no NUL.
    ``hostname`` is part of the name (default: this machine's). ``clock`` gives
    seconds since the epoch.

    Raises ``RefusedError`` also for a suffix that cannot be part of a file name.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        filename_suffix: str = "",
        hostname: str | None = None,
        clock: Callable[[], float] = time.time,
        marks: MarkWriter | None = None,
    ) -> None:
        names = EventFileNames(filename_suffix, hostname)
        super().__init__(directory, _EventFileKind(names, clock), marks)


class _EventFileKind:
    def __init__(self, names: EventFileNames, clock: Callable[[], float]) -> None:
        self._names = names
        self._clock = clock

    def next_name(self, directory: int) -> str:
        return self._names.next(directory, self._clock())

    def opening(self, written_events: int, is_whole: bool) -> bytes:
        return event.file_version(self._clock())
