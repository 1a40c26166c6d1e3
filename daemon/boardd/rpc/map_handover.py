"""Listens on the Unix socket over which clients hand over their maps.

gRPC passes no descriptors and shows no credentials, so this is a socket of its own,
beside gRPC's. All sockets are non-blocking and read by the event loop. Whoever connects
and says nothing is let go after ``HANDOVER_SECS``; the oldest of too many such makes room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from boardd_protos.local_socket import peer_credentials
from boardd_protos.shared import HANDOVER_SECS

from boardd.core.held import Held
from boardd.rpc.map_connection import MapConnection
from boardd.sessions.peer_process import watch
from boardd.sessions.sessions import Sessions

_logger = logging.getLogger(__name__)

#: Connections at once that have not brought it yet.
MAX_WAITING: Final = 64

#: Connections accepted at a time.
_MAX_ACCEPTED: Final = 64
#: Pause after the last descriptor for another connection is gone.
_PAUSE_SECS: Final = 1.0


class MapHandover:
    """Accepts connections on one socket; for the event loop's thread only.

    ``waiting_secs`` is how long one may take to bring map 0.
    """

    def __init__(self, sessions: Sessions, *, waiting_secs: float = HANDOVER_SECS) -> None:
        self._sessions = sessions
        self._waiting_secs = waiting_secs
        self._listener: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._waiting: list[MapConnection] = []
        self._map_connections: set[MapConnection] = set()

    def listen(self, at: Path | socket.socket) -> None:
        """Listens from now on: at a path, for this user alone, or with a socket that does.

        Whatever is at the path is removed. The socket must not block, and is this one's to
        close. Raises ``OSError``.
        """
        self._listener = at if isinstance(at, socket.socket) else _bound(at)
        self._resume()

    def held(self) -> Iterator[Held]:
        """How many connections have brought no map yet."""
        yield Held("unmapped-connections", len(self._waiting), MAX_WAITING)

    def close(self) -> None:
        """Listens no more and ends all connections. Idempotent."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for map_connection in list(self._map_connections):
            map_connection.close()

    def _resume(self) -> None:
        self._pause = None
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_MAX_ACCEPTED):
            if self._listener is None:
                return
            try:
                peer, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory is left
                _logger.error("no client can share its memory now: %s", error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener.fileno())
                self._pause = loop.call_later(_PAUSE_SECS, self._resume)
                return
            try:
                self._take(peer)
            except OSError as error:  # its client sends everything
                _logger.warning("a client cannot share its memory: %s", error.strerror)
                peer.close()

    def _take(self, peer: socket.socket) -> None:
        """Raises ``OSError``; ``peer`` is then the caller's."""
        peer.setblocking(False)
        pid, user, _ = peer_credentials(peer)
        if user not in (0, os.geteuid()):
            _logger.warning("user %d may not share memory: only this user and root may", user)
            peer.close()
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting[0].refuse("too many connections bring no map")
        self._waiting.append(
            MapConnection(self, self._sessions, peer, watch(pid), self._waiting_secs, pid)
        )
        self._map_connections.add(self._waiting[-1])

    def arrived(self, map_connection: MapConnection) -> None:
        """``map_connection`` waits no more."""
        if map_connection in self._waiting:
            self._waiting.remove(map_connection)

    def left(self, map_connection: MapConnection) -> None:
        """``map_connection`` is closed."""
        self.arrived(map_connection)
        self._map_connections.discard(map_connection)


def _bound(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        mask = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(mask)
        listener.listen(_MAX_ACCEPTED)
    except BaseException:
        listener.close()
        raise
    return listener
