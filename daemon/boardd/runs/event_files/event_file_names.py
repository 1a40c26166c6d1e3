"""The names of a run's event files.

TensorBoard reads the files of a run by name, each to its end, and never goes
back, so a new file's name must sort after all others, also when the clock was
set back.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.suffixes import is_loaded
from boardd_protos.tags import MAX_NAME_BYTES

from boardd.core.refusals import RefusedError

#: What TensorBoard looks for in a name (IsTensorFlowEventsFile in
#: tensorboard/backend/event_processing/io_wrapper.py).
EVENT_FILE_MARK: Final = "tfevents"
_PREFIX: Final = "events.out.tfevents."
_SECS_DIGITS: Final = 10


class EventFileNames:
    """Names that hold ``hostname`` (None: this machine's) and end in ``filename_suffix``.

    A host whose name ends as other programs' files do is followed by ``_``, if no suffix is.
    Raises ``RefusedError`` for a suffix that cannot be part of a file name, or with which, behind
    the host, the name ends so.
    """

    def __init__(self, filename_suffix: str = "", hostname: str | None = None) -> None:
        host = (socket.gethostname() if hostname is None else hostname).replace("/", "_")
        if not filename_suffix and is_loaded(f".{host}"):
            host += "_"
        self._end = f".{host}{filename_suffix}"
        if is_loaded(self._end):
            raise RefusedError(
                pb.INVALID_NAME,
                f"filename_suffix {filename_suffix!r}: other programs load files that end in "
                f"{self._end!r}, this host's name included; begin it with '_'",
            )
        if not _is_file_name(_PREFIX + "0" * _SECS_DIGITS + self._end):
            raise RefusedError(
                pb.INVALID_NAME,
                f"filename_suffix {filename_suffix!r} cannot end a file name: "
                "no slash, no NUL, and not that long",
            )

    def next(self, directory: int, now: float) -> str:
        """A name that sorts after every event file of ``directory``, a descriptor.

        ``now`` is in seconds since the epoch. Raises ``RefusedError`` if there is none.
        """
        secs = int(now)
        newest = newest_event_file(directory)
        digits = newest.removeprefix(_PREFIX)[:_SECS_DIGITS]
        if newest.startswith(_PREFIX) and len(digits) == _SECS_DIGITS and digits.isdecimal():
            secs = max(secs, int(digits) + 1)
        name = f"{_PREFIX}{secs:0{_SECS_DIGITS}d}{self._end}"
        return name if name > newest else _name_after(newest, self._end)


def newest_event_file(directory: int) -> str:
    """The last by name of the event files in ``directory``, a descriptor; empty without any."""
    return max((name for name in os.listdir(directory) if EVENT_FILE_MARK in name), default="")


def _name_after(newest: str, end: str) -> str:
    """A name that ends in ``end`` and sorts after another program's, which no time sorts after.

    Raises ``RefusedError`` if there is none.
    """
    name = f"{newest}.1{end}"
    if _is_file_name(name):
        return name
    # Cut off at a character that "~", the last one in ASCII, sorts after.
    first = newest.index(EVENT_FILE_MARK) + len(EVENT_FILE_MARK)
    for length in range(first, len(newest)):
        name = f"{newest[:length]}~{end}"
        if newest[length] < "~" and _is_file_name(name):
            return name
    raise RefusedError(
        pb.INVALID_NAME,
        f"{newest}: no name of an event file sorts after this one, so TensorBoard would not "
        "read it; rename that file or choose another run",
    )


def _is_file_name(text: str) -> bool:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"/" not in encoded and b"\0" not in encoded and len(encoded) <= MAX_NAME_BYTES
