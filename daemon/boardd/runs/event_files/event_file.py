"""The live event file of one run, which TensorBoard reads."""

from __future__ import annotations

import time
from collections.abc import Callable

from boardd.events import event
from boardd.runs.directories.disk_full import DiskFullError
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.durability import SyncFailedError
from boardd.runs.event_files.event_file_names import EventFileNames
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.event_files.mark_writer import MarkWriter

__all__ = ["DiskFullError", "EventFile", "SyncFailedError"]


class EventFile(LiveFile):
    """Appends encoded events; see ``LiveFile``.

    ``filename_suffix`` ends the name of every file: no slash, no NUL.
    ``hostname`` is part of the name (default: this machine's). ``clock`` gives
    seconds since the epoch. Of a directory whose files are shipped, a file that has grown, is due
    at a sync, or meets a full disk is ended, and the next append begins another; the host's name
    is followed by the spool's id there.

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
        self._segments = directory.segments
        if hostname is None and self._segments is not None:
            hostname = self._segments.hostname
        names = EventFileNames(filename_suffix, hostname)
        super().__init__(directory, _EventFileKind(names, clock), marks)

    def resume(self) -> None:
        """Goes on with an append that raised; see ``LiveFile.resume``."""
        size_bytes = self.pending_bytes
        try:
            super().resume()
        except DiskFullError:
            if self._segments is not None:  # what is shipped makes room, and this may be all
                self._leave_full_file()
            raise
        if size_bytes and self._segments is not None and self._segments.wrote(size_bytes):
            self.end_file()

    def sync(self) -> None:
        """Makes all that was appended durable; see ``LiveFile.sync``."""
        super().sync()
        if self._segments is not None and self._segments.is_due:
            self.end_file()

    def _leave_full_file(self) -> None:
        """Leaves a file that cannot grow, if it holds an event; the next takes what is pending."""
        if self._fd >= 0 and self._holds_events():
            self._durability.sync(self._fd, self._path)
            self._leave_file()


class _EventFileKind:
    def __init__(self, names: EventFileNames, clock: Callable[[], float]) -> None:
        self._names = names
        self._clock = clock

    def next_name(self, directory: int) -> str:
        return self._names.next(directory, self._clock())

    def opening(self, written_events: int, is_whole: bool) -> bytes:
        return event.file_version(self._clock())
