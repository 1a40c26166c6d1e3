"""Finds the curves of a run: directories beneath it whose event files say that they are."""

from __future__ import annotations

import itertools
import logging
import os
import stat
from typing import Final

from boardd.events.marks import batch_of, is_mark
from boardd.runs.event_files.event_file_names import EVENT_FILE_MARK
from boardd.runs.event_files.event_records import EventRecords

_logger = logging.getLogger(__name__)

#: Directories beneath a run that are looked into.
MAX_DIRECTORIES: Final = 10_000

#: A FIFO is not waited for.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def curves_in(run: str) -> list[str]:
    """The curves of the run in the directory ``run``, as paths beneath it.

    ``""``, the run itself, is first if it has event files. Links are not followed; what
    cannot be read is passed over. Blocks on the disk.
    """
    found = []
    try:
        start = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        walk = os.fwalk(".", dir_fd=start)
        for place, _, names, fd in itertools.islice(walk, MAX_DIRECTORIES):
            files = sorted((name for name in names if EVENT_FILE_MARK in name), reverse=True)
            path = os.path.normpath(place)
            if path == os.curdir:
                found += [""] if files else []
            elif files and _levels(files, fd) == path.count(os.sep) + 1:
                found.append(path)
        if next(walk, None) is not None:
            _logger.warning(
                "%s: over %d directories; curves in the others are not purged with the run",
                run,
                MAX_DIRECTORIES,
            )
    finally:
        os.close(start)
    return found


def _levels(names: list[str], directory: int) -> int:
    """What the newest of the event files ``names`` that has a mark says; 0 if none has."""
    for name in names:
        try:
            fd = os.open(name, _READ, dir_fd=directory)
        except OSError:
            continue
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                # The first mark comes behind the event that opens the file.
                for data in itertools.islice(EventRecords(fd).walk(), 1, 2):
                    if is_mark(data):
                        return batch_of(data).curve_levels
        except (OSError, ValueError):
            continue
        finally:
            os.close(fd)
    return 0
