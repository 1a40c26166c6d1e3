"""The maps that a client shares: memfds, mapped to be read, never written.

Nothing is ever unmapped under a reader. A map that its client releases leaves
the table here, and its memory goes when the last record that lies in it does.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import ALIGNMENT
from boardd_protos.shared import F_GET_SEALS, MIN_RING_BYTES, SEALS, Handover

from boardd.core.refusals import RefusedError

#: Maps of one session at once.
MAX_MAPS: Final = 256

#: Of ``st_blocks``.
_BLOCK_BYTES: Final = 512


def refused(message: str) -> RefusedError:
    """The error for a map that is refused; the client is answered with the text alone."""
    return RefusedError(pb.REASON_UNSPECIFIED, message)


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

    def add(self, mapped: mmap.mmap) -> None:
        """Counts ``mapped`` from now on."""
        self._held_bytes += len(mapped)
        weakref.finalize(mapped, self._gone.append, len(mapped)).atexit = False


class MapBudget(MapBytes):
    """The bytes of all sessions' maps, ``max_bytes`` at most."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes


class Maps:
    """The maps of one session, which count against ``budget``."""

    def __init__(self, budget: MapBudget) -> None:
        self._budget = budget
        #: By number; replaced, not changed, so that whoever takes it keeps what it names.
        self.views: Mapping[int, memoryview] = {}
        #: The ring in map 0; None if map 0 is not held.
        self.ring: memoryview | None = None
        self._mapped = MapBytes()

    @property
    def size_bytes(self) -> int:
        """Bytes of all maps, also of those that only records hold."""
        return self._mapped.held_bytes

    def share(self, handover: Handover, fd: int) -> None:
        """Maps what ``fd`` refers to; ``fd`` stays the caller's.

        Map 0 takes the place of all that were shared before. Raises
        ``RefusedError``.
        """
        number = handover.map_number
        if number in self.views and number:
            raise refused(f"map {number} is shared already")
        if len(self.views) >= MAX_MAPS:
            raise refused(f"map {number}: at most {MAX_MAPS} are taken")
        log_end = handover.log_offset + handover.log_bytes
        if number == 0 and (
            handover.log_bytes < MIN_RING_BYTES
            or handover.log_bytes % ALIGNMENT
            or handover.log_offset % ALIGNMENT
            or log_end > handover.size_bytes
        ):
            raise refused(
                f"a ring of {handover.log_bytes} bytes at {handover.log_offset} in a map of "
                f"{handover.size_bytes}"
            )
        mapped = self._map(handover, fd)
        self._mapped.add(mapped)
        self._budget.add(mapped)
        view = memoryview(mapped)
        if number == 0:
            self.views = {0: view}
            self.ring = view[handover.log_offset : log_end]
        else:
            self.views = {**self.views, number: view}

    def _map(self, handover: Handover, fd: int) -> mmap.mmap:
        number, size_bytes = handover.map_number, handover.size_bytes
        try:
            seals = fcntl.fcntl(fd, F_GET_SEALS)
        except OSError:
            raise refused(f"map {number} is no memfd") from None
        if seals & SEALS != SEALS:
            raise refused(
                f"map {number} has the seals {seals:#x}; {SEALS:#x} are needed (seal, shrink, grow)"
            )
        status = os.fstat(fd)
        if status.st_size != size_bytes or not size_bytes:
            raise refused(f"map {number} has {status.st_size} bytes, not {size_bytes}")
        allocated_bytes = status.st_blocks * _BLOCK_BYTES
        if number and allocated_bytes < size_bytes:
            # Reading a hole takes memory for it.
            raise refused(
                f"map {number} has {size_bytes} bytes, and only {allocated_bytes} are allocated"
            )
        taken_bytes = self._budget.held_bytes
        if number == 0:
            taken_bytes -= sum(view.nbytes for view in self.views.values())
        if taken_bytes + size_bytes > self._budget.max_bytes:
            raise refused(
                f"map {number} of {size_bytes} bytes is past the budget of "
                f"{self._budget.max_bytes}, of which {taken_bytes} are taken; see --max-map-bytes"
            )
        try:
            return mmap.mmap(fd, size_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except OSError as error:
            raise refused(f"map {number} cannot be mapped: {error.strerror}") from None

    def release(self, number: int) -> None:
        """Lets go of a map; nothing happens if none has that number."""
        self.views = {other: view for other, view in self.views.items() if other != number}

    def clear(self) -> None:
        """Lets go of all maps."""
        self.views = {}
        self.ring = None
