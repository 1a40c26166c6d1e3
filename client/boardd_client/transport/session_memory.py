"""The memory of one session: its log, its arena, its large tensors, and their handover."""

from __future__ import annotations

import logging
import socket
import sys
import time
from contextlib import AbstractContextManager
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address, UnixAddress
from boardd_protos.control_groups import known_memory_limit_bytes
from boardd_protos.log_directory import log_directories

from boardd_client.environment import Settings
from boardd_client.memory.arena import Arena
from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.log import Log, make_log
from boardd_client.memory.maps import LargeTensors, Map, make_map, populate
from boardd_client.memory.parked_frames import ParkedFrames
from boardd_client.memory.ring import Ring
from boardd_client.transport.map_handover import MapHandover
from boardd_client.transport.this_process import program

_logger = logging.getLogger("boardd_client")

#: One part in 4 of the ring is kept for scalars, and one in 64 of the arena for lazy scalars.
_RING_RESERVE: Final = 4
_ARENA_RESERVE: Final = 64
#: Of the arena, usable from the start: for lazy scalars and small tensors.
_FIRST_BYTES: Final = 1 << 20
#: By which the usable part of the arena grows.
_STEP_BYTES: Final = 8 << 20
#: The usable part of the arena is kept at this many times what was ever used.
_AHEAD: Final = 4
#: The memory of large tensors is kept this long after the last of them for the next one.
_TRIM_SECS: Final = 60.0
#: Between two looks after the log's lock and name.
_HOLD_SECS: Final = 1.0
#: Unless they are set, arena and large tensors have this many bytes at most, and this part of
#: the memory that control groups allow the process.
_ARENA_BYTES: Final = 256 << 20
_ARENA_SHARE: Final = 8
_LEAST_ARENA_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 1 << 30
_LARGE_SHARE: Final = 4


class SessionMemory:
    """See the module.

    Shared with the daemon if ``address`` and ``settings`` allow it. ``lock`` is the
    session's. ``grow``, ``share_large`` and ``hand_over`` are for the sender's thread.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        session_id: bytes,
        lock: AbstractContextManager[Any],
    ) -> None:
        arena_bytes, large_bytes = _budgets(settings)
        self._log, self._map = _make(address, settings, session_id, arena_bytes)
        arena_bytes = min(arena_bytes, self._map.size_bytes)
        #: None if nothing is shared.
        self._handover: MapHandover | None = None
        if self._log.is_shared and isinstance(address, UnixAddress):
            self._handover = MapHandover(address, session_id)
        self.ring: Final = Ring(
            self._log.ring,
            reserve_bytes=len(self._log.ring) // _RING_RESERVE,
            lock=lock,
            tail_words=self._log.tail_words,
        )
        self.arena: Final = Arena(
            self._map.view[:arena_bytes],
            reserve_bytes=arena_bytes // _ARENA_RESERVE,
            lock=lock,
            extend=self._extend if self._handover else None,
        )
        self.arena.made_usable(_FIRST_BYTES)
        self.large: Final = LargeTensors(large_bytes, is_shared=self._handover is not None)
        if self._handover is not None:
            self.large.on_made = self._handover.share
            self.large.on_closed = self._handover.release
        self._ring_is_populated = False
        self._has_no_more = False
        self._trouble = ""  # to be told
        self._trim_at = 0.0
        self._hold_at = 0.0

    @property
    def arena_offset(self) -> int | None:
        """Where the arena begins in map 0, in bytes; None if nothing is shared."""
        return 0 if self._handover else None

    @property
    def log_path(self) -> str:
        """The file in which the next daemon finds the log when this process is gone, or empty."""
        return self._log.path

    @property
    def definitions(self) -> KeptDefinitions | None:
        """Where definitions are kept; None if nothing is shared."""
        return self._log.definitions

    @property
    def parked(self) -> ParkedFrames:
        """Where frames of held-up runs are kept."""
        return self._log.parked

    # On the sender's thread

    def grow(self) -> None:
        """Takes memory ahead of its use, so that calls find it there."""
        if self._handover:
            self._take_ahead()
        now = time.monotonic()
        if not self._hold_at:
            self._log.remove_forgotten()
        if now >= self._hold_at:
            self._hold_at = now + _HOLD_SECS
            self._trouble = self._trouble or self._log.hold()
        definitions = self._log.definitions
        if definitions is not None and definitions.trouble:
            _logger.warning("boardd: %s", definitions.trouble)
            definitions.trouble = ""
        for trouble in filter(None, (self._trouble, self.large.trouble)):
            _logger.warning("boardd: %s", trouble)
        self._trouble = self.large.trouble = ""
        if self.large.was_in_use():
            self._trim_at = now + _TRIM_SECS
        elif now >= self._trim_at:
            self.large.trim()

    def _take_ahead(self) -> None:
        if not self._ring_is_populated:
            self._ring_is_populated = True
            self._log.populate()
        arena = self.arena
        wanted = min(_AHEAD * arena.peak_bytes, arena.size_bytes)
        while arena.usable_bytes < wanted and not self._has_no_more:
            start = arena.usable_bytes
            end = min(start + _STEP_BYTES, wanted)
            if not self._allocate(start, end):
                break
            populate(self._map.view, start, end - start)
            arena.made_usable(end)

    def offer(self) -> None:
        """Makes the daemon hold log and maps, if there is one, before a session is opened.

        Raises:
            ConnectionFailedError: it does not answer within 5 s.
        """
        if self._handover is not None:
            self._handover.offer(self._map, self._log.fd)

    def hand_over(self, reply: pb.OpenReply) -> bool:
        """Makes the daemon that answered hold log and maps; returns whether it does.

        Raises:
            ConnectionFailedError: it does not answer within 5 s.
        """
        if self._handover is None:
            return False
        return self._handover.hand_over(self._map, self._log.fd, is_held=reply.holds_maps)

    def share_large(self, timeout_secs: float = 0.0) -> bool:
        """Hands over large tensors' maps that are not yet; whether the daemon has them in time.

        Raises ``HandoverFailedError``, once, when it refuses one: then open the session anew.
        """
        return self._handover is None or self._handover.share_all(self.large.maps, timeout_secs)

    def commit(self, committed: pb.LogPosition) -> bool:
        """Tells the daemon how far it may read the ring; False if that cannot be done now."""
        return self._handover is not None and self._handover.commit(committed)

    def interrupt(self) -> None:
        """Makes a handover fail that waits for the daemon's answer. Any thread may call."""
        if self._handover is not None:
            self._handover.interrupt()

    def close(self) -> None:
        """Ends the handover, which tells the daemon that this session is over.

        Takes no lock: also for a forked child, to let go of what its parent holds.
        """
        if self._handover is not None:
            self._handover.close()
        self._log.close()
        self._map.close()
        self.large.close()

    def release(self) -> None:
        """Closes, and lets go of all memory: all that was logged is written."""
        self._log.remove()
        self.close()
        self._log.release()
        self._map.release()
        self.large.release()

    # On any thread

    def _extend(self, end: int) -> int:
        """See ``Arena``."""
        start = self.arena.usable_bytes
        end = min(max(end, start + _STEP_BYTES), self.arena.size_bytes)
        return end if self._allocate(start, end) else start

    def _allocate(self, start: int, end: int) -> bool:
        try:
            self._map.allocate(start, end - start)
        except OSError as error:
            # Not logged here: a log handler may wait for a thread that this call holds up.
            self._has_no_more = True
            self._trouble = f"no memory for more than {start} bytes of tensors at a time: {error}"
            return False
        return True


def _budgets(settings: Settings) -> tuple[int, int]:
    """Bytes of the arena, and of all large tensors."""
    arena_bytes, large_bytes = settings.arena_bytes, settings.large_tensor_bytes
    if arena_bytes is None or large_bytes is None:
        limit_bytes = known_memory_limit_bytes() or sys.maxsize
        if arena_bytes is None:
            arena_bytes = max(_LEAST_ARENA_BYTES, min(_ARENA_BYTES, limit_bytes // _ARENA_SHARE))
        if large_bytes is None:
            large_bytes = min(_LARGE_BYTES, limit_bytes // _LARGE_SHARE)
    return arena_bytes, large_bytes


def _make(
    address: Address, settings: Settings, session_id: bytes, arena_bytes: int
) -> tuple[Log, Map]:
    """The log and map 0; both are shared, or neither."""
    first_bytes = min(_FIRST_BYTES, arena_bytes)
    arena = None
    if settings.shared_memory and isinstance(address, UnixAddress):
        arena = make_map(arena_bytes, first_bytes, is_shared=True)
    is_shared = arena is not None and arena.fd >= 0 and isinstance(address, UnixAddress)
    log = make_log(
        session_id,
        settings.log_bytes,
        directories=log_directories(address.path) if isinstance(address, UnixAddress) else (),
        hostname=socket.gethostname(),
        program=program(),
        address=str(address),
        is_shared=is_shared,
    )
    if arena is None or (is_shared and not log.is_shared):
        arena = make_map(arena_bytes, first_bytes, is_shared=False)
    return log, arena
