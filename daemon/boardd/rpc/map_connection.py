"""One connection over which a client hands over its maps.

``boardd_protos.shared`` has the protocol. A connection that has brought map 0 of a session
is that session's *map connection*: it ends when the client's process does. A client may
give up one on which it had no answer in time; so until a stream reads its ring, the
process is watched besides.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final, Protocol

from boardd_protos.shared import (
    COMMIT_BYTES,
    HANDOVER_BYTES,
    RELEASE,
    SHARE,
    Commit,
    Handover,
    HandoverError,
    HandoverReply,
)

from boardd.core.errors import ProtocolError
from boardd.core.refusals import RefusedError
from boardd.sessions import let_go
from boardd.sessions.live_session import LiveSession
from boardd.sessions.maps import refused
from boardd.sessions.peer_process import PeerProcess
from boardd.sessions.sessions import Sessions

_logger = logging.getLogger(__name__)

#: Descriptors looked for in one message; a well-behaved client sends two with map 0, else one.
_MAX_DESCRIPTORS: Final = 8
#: Messages taken at a time of one connection; they take about a millisecond.
_MAX_MESSAGES: Final = 64

_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)


class Listener(Protocol):
    """Where connections come from, as far as they act on it."""

    def arrived(self, map_connection: MapConnection) -> None:
        """``map_connection`` waits no more."""

    def left(self, map_connection: MapConnection) -> None:
        """``map_connection`` is closed."""


class MapConnection:
    """One connection, a session's once it has brought its map 0."""

    def __init__(
        self,
        listener: Listener,
        sessions: Sessions,
        peer: socket.socket,
        process: PeerProcess | None,
        waiting_secs: float,
        peer_pid: int = 0,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._listener = listener
        self._sessions = sessions
        self._peer = peer
        self._peer_pid = peer_pid
        self._process = process
        self._live: LiveSession | None = None
        self._warned = False
        self._has_failed = False
        self._timer = loop.call_later(waiting_secs, self.refuse, "no map came in time")
        self.is_open = True
        loop.add_reader(peer.fileno(), self.receive)

    @property
    def peer_pid(self) -> int:
        """See ``OpenMapConnection``."""
        return self._peer_pid

    def receive(self) -> bool:
        """Takes messages that are there, up to a bound; returns whether there may be more.

        Does not wait for one.
        """
        for _ in range(_MAX_MESSAGES):
            if not self.is_open:
                return False
            try:
                data, ancillary, flags, _ = self._peer.recvmsg(
                    HANDOVER_BYTES + 1, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                # Once, if the peer has left answers unread; what it sent before can be read on.
                if not self._has_failed:
                    self._has_failed = True
                    continue
                data, ancillary, flags = b"", [], 0
            if len(data) == COMMIT_BYTES and not ancillary and self._commit(data):
                continue
            with _descriptors(ancillary) as descriptors:
                if data:
                    self._take(data, descriptors, bool(flags & socket.MSG_CTRUNC))
                else:
                    self._end()
        return self.is_open

    def refuse(self, why: str) -> None:
        """Says why, and ends the connection."""
        _logger.warning("a client cannot share its memory: %s", why)
        self._reply(why)
        self.close()

    def rely_on(self) -> None:
        """Takes the end of this for the end of the client, from now on: a stream reads the ring."""
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
        let_go.close_socket(self._peer)
        self._live = None
        self._listener.left(self)

    def _end(self) -> None:
        live = self._live
        if live is None:
            self.close()
            return
        process, self._process = self._process, None
        self.close()
        self._sessions.map_connection_ended(live, self, process)

    def _take(self, data: bytes, descriptors: list[int], is_cut: bool) -> None:
        try:
            handover = Handover.decode(data)
            self._act(handover, descriptors, is_cut)
        except (HandoverError, RefusedError, ProtocolError, OSError) as error:  # no descriptor left
            if self._live is None:
                self.refuse(str(error))
                return
            if not self._warned:  # once, or a client could fill the disk with warnings
                self._warned = True
                _logger.warning("a client cannot share more memory: %s", error)
            # Records that lie in it would be rejected: the client sends them.
            if not isinstance(error, HandoverError) and handover.action == SHARE:
                self._reply(str(error), handover.map_number)

    def _commit(self, data: bytes) -> bool:
        """Takes a commit. Returns False for a message that is none, or none now."""
        live = self._live
        if live is None:
            return False
        try:
            commit = Commit.decode(data)
        except HandoverError:
            return False
        if live.stream is not None:  # else its client commits on its next stream
            live.stream.commit(commit)
        return True

    def _act(self, handover: Handover, descriptors: list[int], is_cut: bool) -> None:
        is_first = (handover.action, handover.map_number) == (SHARE, 0)
        expected = 2 if is_first else int(handover.action == SHARE)
        if is_cut or len(descriptors) != expected:
            raise HandoverError(
                f"{len(descriptors)}{' or more' if is_cut else ''} descriptors; this message has "
                f"{expected}"
            )
        live = self._live
        if live is not None and live.session.session_id != handover.session_id:
            raise HandoverError("this connection is another session's")
        if is_first:
            self._live = self._sessions.share_first(handover, descriptors[0], descriptors[1], self)
            self._timer.cancel()
            self._listener.arrived(self)
            self._reply("")
            return
        if live is None:
            raise HandoverError("the first message must share map 0")
        if live.state.is_ending:
            raise refused("the session's client was gone, and the session ends")
        if handover.action == SHARE:
            live.maps.share(handover, descriptors[0])
            self._reply("", handover.map_number)
        elif handover.action == RELEASE and handover.map_number != 0:
            live.maps.release(handover.map_number)
        else:
            raise HandoverError(
                f"action {handover.action} on map {handover.map_number}: {SHARE} shares a map, "
                f"{RELEASE} releases one that is not map 0"
            )

    def _reply(self, refusal: str, map_number: int = 0) -> None:
        # A peer that takes no answer, with room for one, has gone or is none.
        with contextlib.suppress(OSError):
            self._peer.send(HandoverReply(refusal, map_number).encode(), socket.MSG_NOSIGNAL)


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
            let_go.close(descriptor)
