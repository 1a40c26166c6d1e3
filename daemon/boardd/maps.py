"""The maps that a client shares: memfds, mapped to be read, never written.

Nothing is ever unmapped under a reader. A map that its client releases leaves
the table here, and its memory goes when the last record that lies in it does.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping
from typing import Final
from weakref import WeakSet

from boardd_protos.record import ALIGNMENT
from boardd_protos.shared import F_GET_SEALS, SEALS, Handover

from boardd.core.shared_log import MIN_RING_BYTES

#: Maps of one session at once.
MAX_MAPS: Final = 256


class MapRefusedError(Exception):
    """A map that cannot be used; says why."""


class Maps:
    """The maps of one session, of ``max_bytes`` at most together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        #: By number; replaced, not changed, so that who takes it keeps what it names.
        self.views: Mapping[int, memoryview] = {}
        #: The log's ring, where map 0 is held.
        self.ring: memoryview | None = None
        self._mapped: WeakSet[mmap.mmap] = WeakSet()

    @property
    def size_bytes(self) -> int:
        """Bytes of all maps, also of those that only records hold."""
        return sum(len(mapped) for mapped in self._mapped)

    def share(self, handover: Handover, fd: int) -> None:
        """Maps what ``fd`` refers to; ``fd`` stays the caller's.

        Map 0 takes the place of all that were shared before. Raises
        ``MapRefusedError``.
        """
        number = handover.map_number
        if number in self.views and number:
            raise MapRefusedError(f"map {number} is shared already")
        if len(self.views) >= MAX_MAPS:
            raise MapRefusedError(f"map {number}: at most {MAX_MAPS} are taken")
        log_end = handover.log_offset + handover.log_bytes
        if number == 0 and (
            handover.log_bytes < MIN_RING_BYTES
            or handover.log_bytes % ALIGNMENT
            or handover.log_offset % ALIGNMENT
            or log_end > handover.size_bytes
        ):
            raise MapRefusedError(
                f"a log of {handover.log_bytes} bytes at {handover.log_offset} in a map of "
                f"{handover.size_bytes}"
            )
        mapped = self._map(handover, fd)
        self._mapped.add(mapped)
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
            raise MapRefusedError(f"map {number} is no memfd") from None
        if seals & SEALS != SEALS:
            raise MapRefusedError(
                f"map {number} has the seals {seals:#x}; {SEALS:#x} are needed (seal, shrink, grow)"
            )
        actual = os.fstat(fd).st_size
        if actual != size_bytes or not size_bytes:
            raise MapRefusedError(f"map {number} has {actual} bytes, not {size_bytes}")
        taken_bytes = self.size_bytes
        if number == 0:
            taken_bytes -= sum(view.nbytes for view in self.views.values())
        if taken_bytes + size_bytes > self._max_bytes:
            raise MapRefusedError(
                f"map {number} of {size_bytes} bytes is past the budget of {self._max_bytes}, of "
                f"which {taken_bytes} are taken; see --max-map-bytes"
            )
        try:
            return mmap.mmap(fd, size_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except OSError as error:
            raise MapRefusedError(f"map {number} cannot be mapped: {error.strerror}") from None

    def release(self, number: int) -> None:
        """Lets go of a map; nothing happens where there is none of that number."""
        self.views = {other: view for other, view in self.views.items() if other != number}

    def clear(self) -> None:
        """Lets go of all maps."""
        self.views = {}
        self.ring = None
