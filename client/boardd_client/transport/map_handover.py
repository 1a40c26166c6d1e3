"""Hands the process's maps to the daemon of its host; see ``boardd_protos.shared``.

The connection stays open as long as the process lives: to the daemon, its end
is the end of the process.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Mapping

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import UnixAddress
from boardd_protos.local_socket import HANDOVER_SUFFIX, ForeignSocketError, check_peer
from boardd_protos.shared import (
    HANDOVER_SECS,
    RELEASE,
    REPLY_BYTES_MAX,
    SHARE,
    Commit,
    Handover,
    HandoverError,
    HandoverReply,
)

from boardd_client.memory.maps import Map
from boardd_client.transport.connection import ConnectionFailedError

_logger = logging.getLogger("boardd_client")


class HandoverFailedError(Exception):
    """The daemon does not take the map; says why."""


class MapConnection:
    """A connection over which maps are handed over, first of all map 0. Any thread may call."""

    def __init__(self, address: UnixAddress, session_id: bytes) -> None:
        self._path = f"{address.path}{HANDOVER_SUFFIX}"
        self._session_id = session_id
        self._lock = threading.RLock()
        self._shared: set[int] = set()
        self._unanswered: set[int] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def share_first(self, first: Map, log: int) -> None:
        """Connects and hands over map 0 and the log, of which ``log`` is the descriptor.

        Blocks until the daemon has answered. Raises ``HandoverFailedError`` when it
        refuses or is another user's, and ``TimeoutError`` when it does not answer within 5 s.
        """
        try:
            self._socket.settimeout(HANDOVER_SECS)
            self._socket.connect(self._path)
            check_peer(self._socket)
            message = Handover(self._session_id, SHARE, 0, first.size_bytes)
            socket.send_fds(self._socket, [message.encode()], [first.fd, log])
            reply = HandoverReply.decode(self._socket.recv(REPLY_BYTES_MAX))
            if reply.refusal:
                raise HandoverFailedError(reply.refusal)
            self._socket.setblocking(False)
        except TimeoutError:
            self.close()
            raise
        except (OSError, HandoverError, ForeignSocketError) as error:
            self.close()
            raise HandoverFailedError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def share(self, number: int, made: Map) -> bool:
        """Hands over another map, without waiting; False when it cannot be done now."""
        with self._lock:
            if number in self._shared:
                return True
            message = Handover(self._session_id, SHARE, number, made.size_bytes)
            self._unanswered.add(number)  # first: the answer is heard on another thread
            try:
                socket.send_fds(self._socket, [message.encode()], [made.fd])
            except OSError:
                self._unanswered.discard(number)
                return False
            self._shared.add(number)
            return True

    def release(self, number: int) -> None:
        """Tells the daemon that a map is not used any more."""
        with self._lock:
            if number in self._shared:
                self._shared.discard(number)
                # Not heard, it costs the daemon some address space until the process ends.
                with contextlib.suppress(OSError):
                    self._socket.send(Handover(self._session_id, RELEASE, number).encode())

    def commit(self, committed: pb.LogPosition) -> bool:
        """Tells how far the ring may be read, without waiting; False when it cannot be done now."""
        try:
            commit = Commit(committed.sequence, committed.position)
            self._socket.send(commit.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def interrupt(self) -> None:
        """Makes ``share_first`` fail, whichever thread waits in it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def settle(self, timeout_secs: float) -> bool:
        """Whether the daemon has answered for each map that was shared, in time.

        Raises ``HandoverFailedError`` when it has refused one.
        """
        deadline = time.monotonic() + timeout_secs
        poll = select.poll()
        while self._unanswered:
            try:
                poll.register(self._socket, select.POLLIN)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    return False
                data = self._socket.recv(REPLY_BYTES_MAX, socket.MSG_DONTWAIT)
                reply = HandoverReply.decode(data)
            except BlockingIOError:
                continue
            except (OSError, ValueError):  # it has ended: no map is of use any more
                return False
            self._unanswered.discard(reply.map_number)
            if reply.refusal:
                raise HandoverFailedError(reply.refusal)
        return True

    @property
    def has_ended(self) -> bool:
        """Whether the daemon has closed its end, or is gone."""
        try:
            return not self._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Ends the connection, in this process only."""
        self._socket.close()


class MapHandover:
    """Which daemon holds the maps of a session: at most one, on the other end of one connection.

    ``hand_over`` and ``share_all`` are for the sender's thread, the rest for any.
    """

    def __init__(self, address: UnixAddress, session_id: bytes) -> None:
        self._address = address
        self._session_id = session_id
        self._connection: MapConnection | None = None
        self._next_connection: MapConnection | None = None  # being made
        self._told = ""  # the refusal that was warned about
        #: Whether the daemon holds log and map 0, and has refused another map.
        self._is_refused = False

    def offer(self, first: Map, log: int) -> None:
        """As ``hand_over``, of a session that is not open, perhaps to no daemon at all.

        A refusal is not warned about, as ``hand_over`` comes later.
        """
        if self._connection is None or self._connection.has_ended:
            self._hand_over(first, log, warns=False)

    def hand_over(self, first: Map, log: int, *, is_held: bool) -> bool:
        """Hands over map 0 and the log, of which ``log`` is the descriptor, unless ``is_held``.

        ``is_held`` is what the daemon says: it holds the maps of this session. Returns
        whether it does now. A refusal is warned about once.

        Raises:
            ConnectionFailedError: the daemon does not answer within 5 s.
        """
        if self._connection is not None and is_held:
            return not self._is_refused
        return self._hand_over(first, log, warns=True)

    def _hand_over(self, first: Map, log: int, *, warns: bool) -> bool:
        """Raises ``ConnectionFailedError``."""
        try:
            # Before the old one is cut: its end would be the session's, if this daemon had it.
            self._next_connection = connection = MapConnection(self._address, self._session_id)
            connection.share_first(first, log)
        except TimeoutError:
            # It does not hold the maps over the connection of before. If it takes them over this
            # one after all, it will say that it holds them, and then nobody may believe it.
            self._cut()
            raise ConnectionFailedError(
                "DEADLINE_EXCEEDED", "the daemon does not answer the handover of shared memory"
            ) from None
        except HandoverFailedError as error:
            if warns:
                self._warn(error)
            self._cut()
            return False
        self._cut()
        self._connection, self._next_connection = connection, None
        self._is_refused = False
        return True

    def _warn(self, error: HandoverFailedError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            _logger.warning(
                "boardd: the daemon at %s shares no memory (%s): records go to it through gRPC",
                self._address,
                error,
            )

    def share_all(self, maps: Mapping[int, Map], timeout_secs: float) -> bool:
        """Hands over those of ``maps`` that are not yet; whether the daemon has them all in time.

        Raises ``HandoverFailedError``, once, when it refuses one: from then on
        ``hand_over`` returns False, so that records go by value.
        """
        connection = self._connection
        if connection is None or self._is_refused:
            return True
        if not all(connection.share(number, made) for number, made in maps.items()):
            return False
        try:
            return connection.settle(timeout_secs)
        except HandoverFailedError as error:
            self._is_refused = True
            self._warn(error)
            raise

    def share(self, number: int, made: Map) -> None:
        """Hands over a new map, if it can be done at once; else ``share_all`` does later."""
        connection = self._connection
        if connection is not None and not self._is_refused:
            connection.share(number, made)

    def commit(self, committed: pb.LogPosition) -> bool:
        """Tells the daemon how far it may read the ring; False if that cannot be done now."""
        connection = self._connection
        return connection is not None and connection.commit(committed)

    def release(self, number: int) -> None:
        """Tells the daemon that a map is not used any more."""
        connection = self._connection
        if connection is not None:
            connection.release(number)

    def interrupt(self) -> None:
        """Makes a handover fail that waits for its answer."""
        connection = self._next_connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        """Ends the handover, which tells the daemon that this session is over.

        Takes no lock: also for a forked child, to let go of what its parent holds.
        """
        if self._next_connection is not None:
            self._next_connection.close()
        self._cut()

    def _cut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
