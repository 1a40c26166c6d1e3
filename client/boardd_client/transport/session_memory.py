"""The memory of one session: its log, its arena, its large tensors, and their handover."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address, UnixAddress

from boardd_client.environment import Settings
from boardd_client.memory.arena import Arena
from boardd_client.memory.maps import PAGE_BYTES, LargeTensors, Map, make_map
from boardd_client.memory.ring import Ring
from boardd_client.transport.connection import ConnectionFailedError
from boardd_client.transport.map_handover import HandoverFailedError, MapConnection

_logger = logging.getLogger("boardd_client")

#: Scalars keep this part of the log, and lazy scalars that of the arena, for themselves.
_LOG_RESERVE: Final = 4
_ARENA_RESERVE: Final = 64
#: Of the arena, usable from the start: for lazy scalars and small tensors.
_FIRST_BYTES: Final = 1 << 20
#: Of the arena, made usable at once.
_STEP_BYTES: Final = 8 << 20
#: The sender keeps so many times as much of the arena usable as was ever used.
_AHEAD: Final = 4
#: A large tensor's memory is kept so long for the next one.
_TRIM_SECS: Final = 60.0


class SessionMemory:
    """See the module.

    Shared with the daemon where ``address`` and ``settings`` allow it. ``lock`` is the
    session's. ``grow``, ``share_large`` and ``hand_over`` are for the sender's thread.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        session_id: bytes,
        lock: AbstractContextManager[Any],
    ) -> None:
        self._address = address
        self._session_id = session_id
        self._log_bytes = -(-settings.log_bytes // PAGE_BYTES) * PAGE_BYTES
        size_bytes = self._log_bytes + settings.arena_bytes
        first_bytes = self._log_bytes + min(_FIRST_BYTES, settings.arena_bytes)
        is_local = settings.shared_memory and isinstance(address, UnixAddress)
        self._map: Map = make_map(size_bytes, first_bytes, is_shared=is_local)
        self._is_shared = self._map.fd >= 0
        self.ring: Final = Ring(
            self._map.view[: settings.log_bytes],
            reserve_bytes=settings.log_bytes // _LOG_RESERVE,
            lock=lock,
        )
        self.arena: Final = Arena(
            self._map.view[self._log_bytes : size_bytes],
            reserve_bytes=settings.arena_bytes // _ARENA_RESERVE,
            lock=lock,
            extend=self._extend if self._is_shared else None,
        )
        self.arena.made_usable(first_bytes - self._log_bytes)
        self.large: Final = LargeTensors(settings.large_tensor_bytes, is_shared=self._is_shared)
        self.large.on_made = self._share
        self.large.on_closed = self._release
        self._map_connection: MapConnection | None = None
        self._next_map_connection: MapConnection | None = None  # being made
        self._log_is_populated = False
        self._has_no_more = False
        self._trouble = ""  # to be told
        self._told = ""
        self._trim_at = 0.0

    @property
    def arena_offset(self) -> int | None:
        """Where the arena begins in map 0; None where nothing is shared."""
        return self._log_bytes if self._is_shared else None

    # On the sender's thread

    def grow(self) -> None:
        """Takes memory ahead of its use, so that calls find it there."""
        if self._is_shared:
            self._take_ahead()
        for trouble in filter(None, (self._trouble, self.large.trouble)):
            _logger.warning("%s", trouble)
        self._trouble = self.large.trouble = ""
        now = time.monotonic()
        if self.large.is_in_use:
            self._trim_at = now + _TRIM_SECS
        elif now >= self._trim_at:
            self.large.trim()

    def _take_ahead(self) -> None:
        if not self._log_is_populated:
            self._log_is_populated = True
            self._map.populate(0, self._log_bytes)
        arena = self.arena
        wanted = min(_AHEAD * arena.peak_bytes, arena.size_bytes)
        while arena.usable_bytes < wanted and not self._has_no_more:
            start = arena.usable_bytes
            end = min(start + _STEP_BYTES, wanted)
            if not self._allocate(start, end):
                break
            self._map.populate(self._log_bytes + start, end - start)
            arena.made_usable(end)

    def hand_over(self, reply: pb.OpenReply) -> bool:
        """Has the daemon that answered hold the maps; returns whether it does.

        Raises ``ConnectionFailedError`` when it answers no more.
        """
        if not self._is_shared or not isinstance(self._address, UnixAddress):
            return False
        if self._map_connection is not None and reply.holds_maps:
            return True
        try:
            # Before the old one is cut: its end would be the session's, if this daemon had it.
            self._next_map_connection = map_connection = MapConnection(
                self._address, self._session_id
            )
            map_connection.share_first(self._map, self.ring.size_bytes)
        except TimeoutError:
            raise ConnectionFailedError(
                "DEADLINE_EXCEEDED", "the daemon does not answer the handover of shared memory"
            ) from None
        except HandoverFailedError as error:
            if str(error) != self._told:
                self._told = str(error)
                _logger.warning(
                    "the daemon at %s shares no memory (%s): records go to it through gRPC",
                    self._address,
                    error,
                )
            self._cut_map_connection()
            return False
        self._cut_map_connection()
        self._map_connection, self._next_map_connection = map_connection, None
        return True

    def share_large(self) -> bool:
        """Hands over large tensors' maps that are not yet; False while that cannot be done."""
        map_connection = self._map_connection
        if map_connection is None:
            return True
        return all(map_connection.share(number, made) for number, made in self.large.maps.items())

    def close(self) -> None:
        """Ends the handover, which tells the daemon that this session is over.

        Takes no lock: also for a forked child, to let go of what its parent holds.
        """
        if self._next_map_connection is not None:
            self._next_map_connection.close()
        self._cut_map_connection()
        self._map.close()
        self.large.close()

    def release(self) -> None:
        """Closes, and lets go of all memory."""
        self.close()
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
            self._map.allocate(self._log_bytes + start, end - start)
        except OSError as error:
            # Not logged here: a handler of the program's may wait for whom this call holds up.
            self._has_no_more = True
            self._trouble = f"no memory for more than {start} bytes of tensors at a time: {error}"
            return False
        return True

    def _share(self, number: int, made: Map) -> None:
        map_connection = self._map_connection
        if map_connection is not None:
            map_connection.share(number, made)

    def _release(self, number: int) -> None:
        map_connection = self._map_connection
        if map_connection is not None:
            map_connection.release(number)

    def _cut_map_connection(self) -> None:
        map_connection, self._map_connection = self._map_connection, None
        if map_connection is not None:
            map_connection.close()
