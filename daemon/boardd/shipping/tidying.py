"""Directories of the spool that have rested for long are removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from boardd.runs.directories.run_lock import lock_directory
from boardd.runs.directories.spool import Spool
from boardd.runs.event_files.embedding_files import CONFIG_NAME
from boardd.shipping.plan import FileState, is_event_file, states
from boardd.shipping.spool_directory import SpoolDirectory, is_of_group

#: After this time without a change, a directory goes all of whose files are shipped. A client
#: that was cut off for as long has lost what tells its records from those that are written.
KEPT_SECS: Final = 7 * 86_400.0


def tidy(spool: Spool, store: Path, found: Sequence[SpoolDirectory], now: float) -> None:
    """Removes those of ``found``, the directories of a store, that are done and have rested.

    The directory of the store goes with the last of them. ``now`` is in seconds since the
    epoch. Stay: what several ranks log together, whose journal goes on from these files' marks,
    and embeddings, since the config of the next one names them.
    """
    with_config = {one.path for one in found if (one.path / CONFIG_NAME).exists()}
    for directory in found:
        with contextlib.suppress(OSError), spool.changing:  # else another time
            if _is_done(spool, store, directory, with_config, now):
                _remove(spool, store, directory)


def _is_done(
    spool: Spool, store: Path, directory: SpoolDirectory, with_config: set[Path], now: float
) -> bool:
    files = directory.files()
    is_open = spool.segments_at(directory.path) is not None
    if is_open or not set(states(files, directory.shipped, None).values()) <= {FileState.SHIPPED}:
        return False
    newest_ns = max((version.modified_ns for version in files.values()), default=None)
    if newest_ns is None:  # of others, that are beneath it or were
        newest_ns = os.stat(directory.path).st_mtime_ns
    if now - newest_ns / 1e9 <= KEPT_SECS or is_of_group(directory.path, store):
        return False
    above = [] if any(map(is_event_file, files)) else directory.path.parents
    return with_config.isdisjoint((directory.path, *above))


def _remove(spool: Spool, store: Path, directory: SpoolDirectory) -> None:
    """Removes a directory and those above it that are empty then. Raises ``OSError``."""
    fd = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock_directory(directory.path, fd)
        directory.remove_all()
        directory.path.rmdir()
        for parent in directory.path.parents:
            if not parent.is_relative_to(store) or spool.segments_at(parent) is not None:
                break
            parent.rmdir()
    finally:
        os.close(fd)
