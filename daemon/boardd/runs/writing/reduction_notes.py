"""Which records are being reduced, noted in a file for the next daemon if this one is killed.

A reduction can take so much memory that the system kills the daemon. The next one gets the
record again, as its client keeps what is not acknowledged, and would be killed as well, time
and again. So a record during whose reduction two daemons were killed is set aside. One during
whose reduction one was killed is reduced while no other noted one is: what was reduced beside
the guilty record is not set aside with it.

The file is a table of entries of one size, each written in place: that costs one call to the
system, and a SIGKILL leaves an entry as it was or as it is to be. A power cut may lose it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.session.batch import SummaryPart
from boardd.summaries.reduction import SummaryError

_logger = logging.getLogger(__name__)

#: A record is set aside after so many daemons were killed.
MAX_DEATHS: Final = 2
#: Entries of the file; past that the oldest that no thread works on is forgotten.
MAX_ENTRIES: Final = 256

#: Session, sequence number, deaths before, whether it is being reduced, whether it is a copy.
_ENTRY: Final = struct.Struct("<16sQI??2x")

_Key = tuple[bytes, int, bool]


@dataclass
class _Noted:
    """A record in the file, at place ``slot``."""

    slot: int
    deaths: int
    is_reducing: bool


class ReductionNotes:
    """The notes in the file at ``path``, which lies in a directory of the daemon's own.

    Made, and ``close``d, before and after all reductions; any thread may call ``noted``. If the
    file cannot be used, one line says so and nothing is noted. A *suspect* is a record that a
    daemon was killed with: it waits until no other is noted, and others wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._changed = threading.Condition()
        #: How many suspects wait until no other is noted.
        self.suspects_waiting = 0
        self._noted: dict[_Key, _Noted] = {}
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o600)
            self._read(os.pread(self._fd, MAX_ENTRIES * _ENTRY.size, 0))
        except OSError as error:
            self._give_up(error)

    @contextlib.contextmanager
    def noted(self, part: SummaryPart) -> Iterator[None]:
        """Notes that ``part`` is being reduced, until this ends in whatever way.

        Waits first, if it or another is a suspect; see the class.

        Raises ``SummaryError`` if it is to be set aside.
        """
        key = part.session_id, part.sequence, part.is_copy
        with self._changed:
            noted = self._begin(key)
        if noted is not None and noted.deaths >= MAX_DEATHS:
            raise SummaryError(
                pb.DAEMON_KILLED,
                f"{noted.deaths} daemons were killed while they reduced this record, so it is set "
                "aside; if they ran out of memory, log a smaller tensor or allow the daemon more",
            )
        try:
            yield
        finally:
            with self._changed:
                self._end(key)

    def close(self) -> None:
        """Notes that nothing is being reduced any more: the daemon ends, and is not killed."""
        with self._changed:
            if self._fd < 0:
                return
            for key, noted in list(self._noted.items()):
                noted.is_reducing = False
                if not noted.deaths:
                    del self._noted[key]
            with contextlib.suppress(OSError):
                if self._noted:
                    self._rewrite()
                else:
                    self._path.unlink()
            os.close(self._fd)
            self._fd = -1
            self._changed.notify_all()

    def _read(self, data: bytes) -> None:
        whole = len(data) - len(data) % _ENTRY.size
        for entry in _ENTRY.iter_unpack(data[:whole]):
            session_id, sequence, deaths, was_reducing, is_copy = entry
            deaths = min(deaths + was_reducing, MAX_DEATHS)
            if deaths:
                key = session_id, sequence, is_copy
                self._noted[key] = _Noted(len(self._noted), deaths, is_reducing=False)
        # So that a death counts once, whatever becomes of this daemon.
        self._rewrite()

    def _rewrite(self) -> None:
        new = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new, flags, 0o600)
        os.close(self._fd)
        self._fd = fd
        for key, noted in self._noted.items():
            self._write(key, noted)
        os.replace(new, self._path)

    def _begin(self, key: _Key) -> _Noted | None:
        """Returns the entry of ``key``; None if there is no room for one, or no file."""
        noted = self._noted.get(key)
        if self._fd < 0 or (noted is not None and noted.deaths >= MAX_DEATHS):
            return noted
        is_suspect = noted is not None and noted.deaths > 0
        self.suspects_waiting += is_suspect
        self._changed.wait_for(lambda: self._may_begin(is_suspect=is_suspect))
        self.suspects_waiting -= is_suspect
        if self._fd < 0:
            return None
        noted = self._noted.get(key)  # it may have been forgotten meanwhile
        if noted is None:
            slot = self._free_slot()
            if slot is None:
                return None
            noted = self._noted[key] = _Noted(slot, deaths=0, is_reducing=True)
        noted.is_reducing = True
        self._note(key, noted)
        return noted

    def _may_begin(self, *, is_suspect: bool) -> bool:
        if self._fd < 0:
            return True
        reducing = [noted for noted in self._noted.values() if noted.is_reducing]
        if is_suspect:
            return not reducing
        return not self.suspects_waiting and not any(noted.deaths for noted in reducing)

    def _end(self, key: _Key) -> None:
        self._changed.notify_all()
        noted = self._noted.pop(key, None)
        if noted is not None and self._fd >= 0:
            self._note((bytes(16), 0, False), _Noted(noted.slot, deaths=0, is_reducing=False))

    def _free_slot(self) -> int | None:
        if len(self._noted) >= MAX_ENTRIES:
            idle = (key for key, noted in self._noted.items() if not noted.is_reducing)
            oldest = next(idle, None)
            return None if oldest is None else self._noted.pop(oldest).slot
        taken = {noted.slot for noted in self._noted.values()}
        return next(slot for slot in range(MAX_ENTRIES) if slot not in taken)

    def _note(self, key: _Key, noted: _Noted) -> None:
        try:
            self._write(key, noted)
        except OSError as error:
            self._give_up(error)

    def _write(self, key: _Key, noted: _Noted) -> None:
        session_id, sequence, is_copy = key
        entry = _ENTRY.pack(session_id, sequence, noted.deaths, noted.is_reducing, is_copy)
        os.pwrite(self._fd, entry, noted.slot * _ENTRY.size)

    def _give_up(self, error: OSError) -> None:
        _logger.warning("%s: which records are being reduced is not noted: %s", self._path, error)
        with self._changed:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._changed.notify_all()
