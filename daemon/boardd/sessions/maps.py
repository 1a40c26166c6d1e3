"""What a client shares: its log, and maps, which are memfds, mapped to be read, never written.

Nothing is ever unmapped under a reader. A map that its client releases leaves
the table here, and its memory goes when the last record that lies in it does.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import (
    F_ADD_SEALS,
    F_GET_SEALS,
    F_SEAL_FUTURE_WRITE,
    MAX_MAPS,
    SEALS,
    Handover,
)
from numpy.typing import NDArray

from boardd.core.refusals import RefusedError
from boardd.sessions import let_go
from boardd.sessions.client_log import ClientLog

#: The bytes of a map; it is unmapped when the last view of them goes.
Mapped = NDArray[np.uint8]

#: Of ``st_blocks``.
_BLOCK_BYTES: Final = 512


def refused(message: str) -> RefusedError:
    """The error for a map that is refused; the client is answered with the text alone."""
    return RefusedError(pb.REASON_UNSPECIFIED, message)


class MemfdKind(NamedTuple):
    """What the memfds of this kernel have in common that may be mapped here."""

    device: int  #: those of another kind, of huge pages say, have another
    seals: int


@functools.cache
def memfd_kind() -> MemfdKind:
    """See ``MemfdKind``. Raises ``OSError`` where there are no memfds."""
    fd = os.memfd_create("boardd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        seals = SEALS | F_SEAL_FUTURE_WRITE
        try:
            fcntl.fcntl(fd, F_ADD_SEALS, seals)
        except OSError:  # a kernel before Linux 5.1
            seals = SEALS
        return MemfdKind(os.fstat(fd).st_dev, seals)
    finally:
        os.close(fd)


class MapViews(dict[int, memoryview]):
    """Maps by number; replaced, not changed, so that whoever takes it keeps what it names.

    Map 0 grows with its use. Where nothing was written yet it has holes, and reading one
    would take memory for it, which is the daemon's then. ``first`` is its descriptor.
    """

    def __init__(self, views: Mapping[int, memoryview], first: _Descriptor | None) -> None:
        super().__init__(views)
        self._first = first

    @property
    def first(self) -> _Descriptor | None:
        """The descriptor of map 0."""
        return self._first

    def has_hole(self, number: int, start: int, end: int) -> bool:
        """Whether a part of these bytes of a map was never written. Any thread may call."""
        return not number and self._first is not None and self._first.has_hole(start, end)


class _Descriptor:
    """A duplicate of ``fd``, a sealed memfd, open as long as this is."""

    def __init__(self, fd: int) -> None:
        self.fd: Final = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        #: From where to where it is known to have no hole; its seals let none come (Linux 5.1).
        self._whole = (0, 0)
        weakref.finalize(self, let_go.close, self.fd).atexit = False

    def has_hole(self, start: int, end: int) -> bool:
        """Whether a part of these bytes was never written.

        The system looks at each page up to the next hole, so what it found is kept.
        """
        low, high = self._whole
        if low <= start <= high:
            if end <= high:
                return False
            hole = os.lseek(self.fd, high, os.SEEK_HOLE)
        else:
            low, hole = start, os.lseek(self.fd, start, os.SEEK_HOLE)
        self._whole = low, hole
        return hole < end


class MapBytes:
    """Counts the bytes that are mapped, until nothing refers to a map any more.

    Any thread may be the last to refer to one, also in the middle of a count.
    """

    def __init__(self) -> None:
        self._held_bytes = 0
        self._gone: deque[int] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes of the maps that there are. For one thread only, the one that adds."""
        while self._gone:
            self._held_bytes -= self._gone.popleft()
        return self._held_bytes

    def add(self, mapped: Mapped) -> None:
        """Counts ``mapped`` from now on."""
        self._held_bytes += mapped.nbytes
        weakref.finalize(mapped, self._gone.append, mapped.nbytes).atexit = False


class MapBudget(MapBytes):
    """The bytes of all sessions' maps, ``max_bytes`` at most."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes


class Maps:
    """The maps of one session, which count against ``budget``."""

    def __init__(self, budget: MapBudget) -> None:
        self._budget = budget
        self.views = MapViews({}, None)
        #: None if it is not held.
        self.log: ClientLog | None = None
        self._mapped = MapBytes()

    @property
    def size_bytes(self) -> int:
        """Bytes of all maps, also of those that only records hold."""
        return self._mapped.held_bytes

    def share_first(self, handover: Handover, fd: int, log: ClientLog) -> None:
        """Takes map 0, which ``fd`` refers to, and ``log``, in place of all that was shared before.

        ``fd`` stays the caller's, and so does ``log`` if this raises ``RefusedError``.
        """
        mapped = self._map(handover, fd)
        try:
            first = _Descriptor(fd)
        except OSError as error:
            raise refused(f"map 0 cannot be kept: {error.strerror}") from None
        self.clear()
        self.log = log
        self.views = MapViews({}, first)
        self._add(0, mapped)

    def adopt(self, log: ClientLog) -> None:
        """Takes the log of a client that is dead; its tensors are gone."""
        self.clear()
        self.log = log

    def share(self, handover: Handover, fd: int) -> None:
        """Maps what ``fd`` refers to; ``fd`` stays the caller's. Raises ``RefusedError``."""
        number = handover.map_number
        if number in self.views:
            raise refused(f"map {number} is shared already")
        if len(self.views) >= MAX_MAPS:
            raise refused(f"map {number}: at most {MAX_MAPS} are taken")
        self._add(number, self._map(handover, fd))

    def _add(self, number: int, mapped: Mapped) -> None:
        self._mapped.add(mapped)
        self._budget.add(mapped)
        self.views = MapViews({**self.views, number: mapped.data}, self.views.first)

    def _map(self, handover: Handover, fd: int) -> Mapped:
        number, size_bytes = handover.map_number, handover.size_bytes
        try:
            seals = fcntl.fcntl(fd, F_GET_SEALS)
        except OSError:
            raise refused(f"map {number} is no memfd") from None
        kind = memfd_kind()
        if seals & kind.seals != kind.seals:
            raise refused(
                f"map {number} has the seals {seals:#x}; {kind.seals:#x} are needed (seal, shrink, "
                "grow, future write)"
            )
        status = os.fstat(fd)
        if status.st_dev != kind.device:
            raise refused(f"map {number} is a memfd of another kind; map ordinary pages")
        if status.st_size != size_bytes or not size_bytes:
            raise refused(f"map {number} has {status.st_size} bytes, not {size_bytes}")
        allocated_bytes = status.st_blocks * _BLOCK_BYTES
        if number and allocated_bytes < size_bytes:
            # Reading a hole takes memory for it.
            raise refused(
                f"map {number} has {size_bytes} bytes, and only {allocated_bytes} are allocated"
            )
        taken_bytes, own_bytes = self._budget.held_bytes, self.size_bytes
        if number == 0:  # in the place of all
            shared_bytes = sum(view.nbytes for view in self.views.values())
            taken_bytes, own_bytes = taken_bytes - shared_bytes, own_bytes - shared_bytes
        # As much as is left for others, so that the next session finds room too.
        if own_bytes + size_bytes > self._budget.max_bytes - taken_bytes:
            raise refused(
                f"map {number} of {size_bytes} bytes is past the budget of "
                f"{self._budget.max_bytes}, of which {taken_bytes} are taken, or past this "
                "session's part of it; see --max-map-bytes"
            )
        try:
            memory = mmap.mmap(fd, size_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except OSError as error:
            raise refused(f"map {number} cannot be mapped: {error.strerror}") from None
        mapped = np.frombuffer(memory, np.uint8)
        weakref.finalize(mapped, let_go.unmap, memory).atexit = False
        return mapped

    def release(self, number: int) -> None:
        """Lets go of a map; nothing happens if none has that number."""
        views = {other: view for other, view in self.views.items() if other != number}
        self.views = MapViews(views, self.views.first)

    def clear(self) -> None:
        """Lets go of the log and of all maps."""
        self.views = MapViews({}, None)
        if self.log is not None:
            self.log.close()
            self.log = None
