"""What is to become of the files in one directory of the spool. Pure.

A file is OPEN while its run appends to it, then CLOSED until its store has confirmed it, then
SHIPPED. A shipped event file stays for its marks, from which a daemon that opens the run knows
what is written, until a later one with marks is shipped as well: then it is SUPERSEDED, and
goes. Side files, those of embeddings, are replaced as a whole, and are CLOSED again then; they
stay, since the config of the next embedding names them.

Event files are shipped in the order of their names: TensorBoard does not go back to one that
appears before one that it has read. A config follows the files that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from boardd.runs.event_files.embedding_files import CONFIG_NAME
from boardd.runs.event_files.event_file_names import EVENT_FILE_MARK

#: The longest time between two tries.
MAX_RETRY_SECS: Final = 300.0


class FileVersion(NamedTuple):
    """What tells two contents of one name apart."""

    size_bytes: int
    modified_ns: int
    inode: int


class Shipped(NamedTuple):
    """What a store has confirmed."""

    version: FileVersion
    has_marks: bool  #: whether it is an event file that says what is written


class FileState(Enum):
    """What has become of a file so far."""

    OPEN = auto()
    CLOSED = auto()
    SHIPPED = auto()
    SUPERSEDED = auto()


def is_event_file(name: str) -> bool:
    """Whether TensorBoard reads ``name`` as an event file."""
    return EVENT_FILE_MARK in name


def states(
    files: Mapping[str, FileVersion], shipped: Mapping[str, Shipped], closed_through: str | None
) -> dict[str, FileState]:
    """The state of each of ``files``, which are those of one directory.

    ``closed_through``: the last event file that is closed; None: all of them are.
    """
    found = {
        name: FileState.SHIPPED
        if name in shipped and shipped[name].version == version
        else FileState.OPEN
        if is_event_file(name) and closed_through is not None and name > closed_through
        else FileState.CLOSED
        for name, version in files.items()
    }
    is_superseded = False
    for name in sorted(filter(is_event_file, found), reverse=True):
        if found[name] is not FileState.SHIPPED:
            continue
        if is_superseded:
            found[name] = FileState.SUPERSEDED
        is_superseded = is_superseded or shipped[name].has_marks
    return found


def in_order(found: Mapping[str, FileState]) -> list[str]:
    """The files that are to be shipped, in the order in which they are."""
    closed = [name for name, state in found.items() if state is FileState.CLOSED]
    return sorted(closed, key=lambda name: (is_event_file(name), name == CONFIG_NAME, name))


def retry_secs(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(2.0 ** min(failures - 1, 30), MAX_RETRY_SECS) if failures else 0.0
