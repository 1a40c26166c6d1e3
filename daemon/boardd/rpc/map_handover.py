"""Takes the maps of clients over a Unix socket; ``boardd_protos.shared`` has the protocol.

gRPC passes no descriptors and shows no credentials, so this is a socket of its
own, beside gRPC's. A connection that has brought map 0 of a session is that
session's *map_connection*: it ends when the client's process does. A client may give up
one on which it had no answer in time, so until its log is attached to, the process
is watched besides.

All sockets are non-blocking and read by the event loop. Who connects and says
nothing is let go after ``HANDOVER_SECS``; the oldest of too many such makes room.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import (
    HANDOVER_BYTES,
    RELEASE,
    SHARE,
    Handover,
    HandoverError,
    HandoverReply,
)

from boardd.core.errors import UnknownSessionError
from boardd.core.refusals import RefusedError
from boardd.sessions.live_session import LiveSession
from boardd.sessions.peer_process import PeerProcess, watch

_logger = logging.getLogger(__name__)

#: How long a connection may take to bring map 0.
HANDOVER_SECS: Final = 5.0
#: Connections at once that have not brought it yet.
MAX_WAITING: Final = 64

#: Descriptors looked for in one message; a well-behaved client sends one.
_MAX_DESCRIPTORS: Final = 8
#: Messages taken at a time of one connection.
_MAX_MESSAGES: Final = 1024
#: Connections accepted at a time.
_MAX_ACCEPTED: Final = 64
#: Pause where there is no descriptor left for another connection.
_PAUSE_SECS: Final = 1.0

_UCRED: Final = struct.Struct("3i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)


class Owners(Protocol):
    """The sessions, as far as map connections matter to them."""

    def find(self, session_id: bytes) -> LiveSession:
        """The open session of that id. Raises ``UnknownSessionError``."""

    def maps_shared(self, live: LiveSession, map_connection: MapConnection) -> None:
        """``map_connection`` has brought map 0 of ``live``, which is mapped."""

    def map_connection_ended(
        self, live: LiveSession, map_connection: MapConnection, process: PeerProcess | None
    ) -> None:
        """The client at the other end is gone, or has let go.

        ``process`` is the client's where it can tell which; the callee closes it.
        """


class MapHandover:
    """Accepts connections on one socket; for the event loop's thread only.

    ``waiting_secs`` is how long one may take to bring map 0.
    """

    def __init__(self, owners: Owners, *, waiting_secs: float = HANDOVER_SECS) -> None:
        self._owners = owners
        self._waiting_secs = waiting_secs
        self._listener: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._waiting: list[MapConnection] = []
        self._map_connections: set[MapConnection] = set()

    def listen(self, path: Path) -> None:
        """Binds ``path``, for this user alone, and listens from now on.

        Whatever is at ``path`` is removed. Raises ``OSError``.
        """
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
        self._listener = listener
        self._resume()

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
            peer.setblocking(False)
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            pid, user, _ = _UCRED.unpack(credentials)
            if user not in (0, os.geteuid()):
                _logger.warning("user %d may not share memory: only this user and root may", user)
                peer.close()
                continue
            if len(self._waiting) >= MAX_WAITING:
                self._waiting[0].refuse("too many connections bring no map")
            self._waiting.append(
                MapConnection(self, self._owners, peer, watch(pid), self._waiting_secs)
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


class MapConnection:
    """One connection, a session's once it has brought its map 0."""

    def __init__(
        self,
        handoff: MapHandover,
        owners: Owners,
        peer: socket.socket,
        process: PeerProcess | None,
        waiting_secs: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._map_handover = handoff
        self._owners = owners
        self._peer = peer
        self._process = process
        self._live: LiveSession | None = None
        self._warned = False
        self._timer = loop.call_later(waiting_secs, self.refuse, "no map came in time")
        self.is_open = True
        loop.add_reader(peer.fileno(), self.receive)

    def receive(self) -> None:
        """Takes the messages that are there; does not wait for one."""
        for _ in range(_MAX_MESSAGES):
            if not self.is_open:
                return
            try:
                data, ancillary, flags, _ = self._peer.recvmsg(
                    HANDOVER_BYTES + 1, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data, ancillary, flags = b"", [], 0
            with _descriptors(ancillary) as descriptors:
                if data:
                    self._take(data, descriptors, bool(flags & socket.MSG_CTRUNC))
                else:
                    self._end()

    def refuse(self, why: str) -> None:
        """Says why, and ends the connection."""
        _logger.warning("a client cannot share its memory: %s", why)
        self._reply(why)
        self.close()

    def attached(self) -> None:
        """A stream reads the log: from now on the end of this is the end of the client."""
        self._unwatch()

    def _unwatch(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def close(self) -> None:
        """Ends the connection. Idempotent."""
        self._unwatch()
        if not self.is_open:
            return
        self.is_open = False
        self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._peer.fileno())
        self._peer.close()
        self._live = None
        self._map_handover.left(self)

    def _end(self) -> None:
        live = self._live
        if live is None:
            self.close()
            return
        process, self._process = self._process, None
        self.close()
        self._owners.map_connection_ended(live, self, process)

    def _take(self, data: bytes, descriptors: list[int], is_cut: bool) -> None:
        try:
            handover = Handover.decode(data)
            is_first = handover.action == SHARE and handover.map_number == 0
            self._act(handover, descriptors, is_cut)
        except (HandoverError, RefusedError, UnknownSessionError) as error:
            if self._live is None:
                self.refuse(str(error))
                return
            if not self._warned:  # once, or a client could fill the disk with warnings
                self._warned = True
                _logger.warning("a client cannot share more memory: %s", error)
            if isinstance(error, HandoverError) or not is_first:
                return  # records that lie in the map are rejected
            self._reply(str(error))

    def _act(self, handover: Handover, descriptors: list[int], is_cut: bool) -> None:
        expected = 1 if handover.action == SHARE else 0
        if is_cut or len(descriptors) != expected:
            raise HandoverError(
                f"{len(descriptors)}{' or more' if is_cut else ''} descriptors; this message has "
                f"{expected}"
            )
        live = self._owners.find(handover.session_id)
        if live.is_ending:
            raise RefusedError(
                pb.UNKNOWN_SESSION, "the session's client was gone, and the session ends"
            )
        if self._live is None and (handover.action, handover.map_number) != (SHARE, 0):
            raise HandoverError("the first message must share map 0")
        if self._live not in (None, live):
            raise HandoverError("this connection is another session's")
        if handover.action == SHARE:
            live.maps.share(handover, descriptors[0])
            if handover.map_number == 0:
                self._live = live
                self._timer.cancel()
                self._map_handover.arrived(self)
                self._owners.maps_shared(live, self)
                self._reply("")
        elif handover.action == RELEASE and handover.map_number != 0:
            live.maps.release(handover.map_number)
        else:
            raise HandoverError(
                f"action {handover.action} on map {handover.map_number}: {SHARE} shares a map, "
                f"{RELEASE} releases one that is not map 0"
            )

    def _reply(self, refusal: str) -> None:
        # A peer that takes no answer, with room for one, has gone or is none.
        with contextlib.suppress(OSError):
            self._peer.send(HandoverReply(refusal).encode(), socket.MSG_NOSIGNAL)


@contextlib.contextmanager
def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> Iterator[list[int]]:
    """The descriptors that came with a message; all are closed afterwards."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) // found.itemsize * found.itemsize])
    try:
        yield found.tolist()
    finally:
        for descriptor in found:
            os.close(descriptor)
