"""Maps: the memory that tensors lie in, shared with the daemon if possible.

A shared map is a memfd, sealed against every change of its size, so that the
daemon cannot be made to read behind its end, and against every other writer. It is
sparse: memory is taken (``allocate``) before it is used, so that running out of it is an
error here and not a SIGBUS in the middle of a copy. If there is no memfd, a map is private
memory of the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from boardd_protos.shared import F_ADD_SEALS, F_SEAL_FUTURE_WRITE, MAX_MAPS, SEALS

from boardd_client.memory.arena import Slot
from boardd_client.memory.pinning import PinnableMap

_T = TypeVar("_T")

_logger = logging.getLogger("boardd_client")

#: ``madvise``: have the pages of a range mapped, writable (Linux 5.14).
_MADV_POPULATE_WRITE: Final = 23

#: Of memory that is taken at a time.
_STEP_BYTES: Final = 4 << 20

PAGE_BYTES: Final = mmap.PAGESIZE
_LEAST_PRIVATE_BYTES: Final = 1 << 20


class Map:
    """Zeroed memory of ``size_bytes``; a whole number of pages is taken.

    ``is_shared`` asks for a memfd. Raises ``OSError`` if there is no memory, and
    ``AttributeError`` on systems that know no memfds.
    """

    def __init__(self, size_bytes: int, *, is_shared: bool) -> None:
        self.size_bytes: Final = -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
        self.fd = -1
        if not is_shared:
            self.view = private_memory(self.size_bytes)
            return
        self.fd = os.memfd_create("boardd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, self.size_bytes)
            self.view = memoryview(PinnableMap(self.fd, self.size_bytes))
            _seal(self.fd)
        except BaseException:
            self.close()
            raise

    def allocate(self, offset: int, size_bytes: int) -> None:
        """Takes memory for a range. Raises ``OSError`` when there is not enough.

        Releases the GIL; a quarter of a millisecond for each MiB.
        """
        if self.fd >= 0:
            allocate(self.fd, offset, size_bytes)

    def release(self) -> None:
        """Lets go of the memory, which lives as long as anything else refers to it."""
        self.close()
        self.view = memoryview(b"")

    def close(self) -> None:
        """Closes the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def allocate(fd: int, offset: int, size_bytes: int) -> None:
    """Takes memory for a range of a file in memory; see ``Map.allocate``."""
    # In steps: older kernels give all of a call's pages back when a signal interrupts it.
    for start in range(offset, offset + size_bytes, _STEP_BYTES):
        os.posix_fallocate(fd, start, min(_STEP_BYTES, offset + size_bytes - start))


def populate(view: memoryview, offset: int, size_bytes: int) -> None:
    """Maps the pages of a range of ``view`` that was allocated, if the system can.

    Else the first writer of each page pays for that, which makes a first copy
    several times slower. Releases the GIL.
    """
    import ctypes

    libc = ctypes.CDLL(None)  # mmap.madvise would hold the GIL
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    start = (address + offset) // PAGE_BYTES * PAGE_BYTES
    length = address + offset + size_bytes - start
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_POPULATE_WRITE)


def _seal(fd: int) -> None:
    """Seals a memfd that is mapped. Raises ``OSError``."""
    try:
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_FUTURE_WRITE)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this kernel does not know F_SEAL_FUTURE_WRITE
            raise
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)


def private_memory(size_bytes: int) -> memoryview:
    """Zeroed memory of whole pages, which a forked child has for itself and cannot write to ours.

    Raises ``OSError``.
    """
    return memoryview(mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def as_large_as_may_be(size_bytes: int, make: Callable[[int], _T]) -> _T:
    """What ``make`` makes of ``size_bytes``, or of the half, the quarter and so on of them.

    A process may have less memory than asked for (``ulimit -v``); that is warned about. Raises
    ``OSError`` if there is not even 1 MiB.
    """
    taken_bytes = size_bytes
    trouble = ""
    while True:
        try:
            made = make(taken_bytes)
        except OSError as error:
            if taken_bytes <= _LEAST_PRIVATE_BYTES:
                raise
            trouble = error.strerror or str(error)
            taken_bytes = -(-taken_bytes // 2 // PAGE_BYTES) * PAGE_BYTES
            continue
        if trouble:
            _logger.warning(
                "boardd: %d bytes of memory are not to be had (%s): %d are used, so less can wait "
                "to be written",
                size_bytes,
                trouble,
                taken_bytes,
            )
        return made


def make_map(size_bytes: int, first_bytes: int, *, is_shared: bool) -> Map:
    """A map whose first bytes are allocated; a private one if a shared one cannot be had.

    That may be smaller, see ``as_large_as_may_be``. Raises ``OSError``.
    """
    if is_shared:
        made = None
        try:
            made = Map(size_bytes, is_shared=True)
            made.allocate(0, first_bytes)
            return made
        except (OSError, AttributeError) as error:
            if made is not None:
                made.close()
            _logger.warning(
                "boardd: no memory can be shared with the daemon (%s): tensors go through gRPC",
                error,
            )
    return as_large_as_may_be(size_bytes, lambda size: Map(size, is_shared=False))


class LargeTensors:
    """Tensors for which the arena has no room, each in a map of its own.

    All maps together have ``budget_bytes`` at most, and there are no more of them than a
    daemon takes, map 0 included. One that is freed is kept for
    the next tensor of about its size, until the room is needed or ``trim`` is called.
    ``on_made`` and ``on_closed`` are told a map's number.

    Any thread may call. ``free`` takes no lock: its caller holds the session's, which a
    signal handler that logs waits for, also in a thread that is in ``allocate``.
    """

    def __init__(self, budget_bytes: int, *, is_shared: bool) -> None:
        self.budget_bytes: Final = budget_bytes
        self.on_made: Callable[[int, Map], None] = lambda number, made: None
        self.on_closed: Callable[[int], None] = lambda number: None
        self.trouble = ""  #: why there was no memory, if so
        self._is_shared = is_shared
        self._lock = threading.RLock()
        self._maps: dict[int, Map] = {}
        self._free: deque[int] = deque()
        self._has_been_used = False
        self._last_number = 0

    @property
    def maps(self) -> dict[int, Map]:
        """The maps there are, by number."""
        with self._lock:
            return dict(self._maps)

    def was_in_use(self) -> bool:
        """Whether any map holds a tensor, or got one since the last call."""
        has_been_used, self._has_been_used = self._has_been_used, False
        return has_been_used or len(self._maps) > len(self._free)

    def may_fit(self, size_bytes: int) -> bool:
        """Whether tensors of ``size_bytes`` find room when all others are gone."""
        return size_bytes <= self.budget_bytes

    def allocate(self, size_bytes: int) -> Slot | None:
        """A slot in a map of its own; None when there is no room."""
        with self._lock:
            self._has_been_used = True
            for number in list(self._free):
                if size_bytes <= self._maps[number].size_bytes <= 2 * size_bytes:
                    self._free.remove(number)
                    return Slot(0, self._maps[number].view[:size_bytes], number)
            held_bytes = sum(made.size_bytes for made in self._maps.values())
            while self._free and not self._has_room(held_bytes + size_bytes):
                held_bytes -= self._close(self._free.popleft())
            if not self._has_room(held_bytes + size_bytes):
                return None
            made = None
            try:
                made = Map(size_bytes, is_shared=self._is_shared)
                made.allocate(0, made.size_bytes)
            except OSError as error:
                if made is not None:
                    made.close()
                # Not logged here: a handler of the program's may wait for whom this call holds up.
                self.trouble = f"no memory for a tensor of {size_bytes} bytes: {error}"
                return None
            self._last_number += 1
            number = self._last_number
            self._maps[number] = made
            self.on_made(number, made)
            return Slot(0, made.view[:size_bytes], number)

    def _has_room(self, size_bytes: int) -> bool:
        """Whether one more map makes no more maps and no more bytes than there may be."""
        return size_bytes <= self.budget_bytes and len(self._maps) + 1 < MAX_MAPS

    def free(self, slot: Slot) -> None:
        """Gives a slot back, once."""
        self._free.append(slot.map_number)

    def trim(self) -> None:
        """Closes the maps that hold no tensor."""
        with self._lock:
            while self._free:
                self._close(self._free.popleft())

    def close(self) -> None:
        """Closes all descriptors. Takes no lock: a forked child may find it held for ever."""
        for made in list(self._maps.values()):
            made.close()

    def release(self) -> None:
        """Lets go of all maps."""
        self.close()
        self._maps.clear()
        self._free.clear()

    def _close(self, number: int) -> int:
        closed = self._maps.pop(number)
        closed.close()
        self.on_closed(number)
        return closed.size_bytes
