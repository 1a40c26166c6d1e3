"""Hands the process's maps to the daemon of its host; see ``boardd_protos.shared``.

The connection stays open for as long as the process lives: to the daemon, its end
is the end of the process.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

from boardd_protos.address import UnixAddress
from boardd_protos.shared import (
    HANDOVER_SUFFIX,
    RELEASE,
    REPLY_BYTES_MAX,
    SHARE,
    Handover,
    HandoverError,
    HandoverReply,
)

from boardd_client.memory.maps import Map

_TIMEOUT_SECS: Final = 5.0


class HandoverFailedError(Exception):
    """The daemon does not take the map; says why."""


class MapConnection:
    """A connection over which maps are handed over, first of all map 0. Any thread may call."""

    def __init__(self, address: UnixAddress, session_id: bytes) -> None:
        self._path = f"{address.path}{HANDOVER_SUFFIX}"
        self._session_id = session_id
        self._lock = threading.RLock()
        self._shared: set[int] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def share_first(self, first: Map, log_bytes: int) -> None:
        """Connects and hands map 0 over, which begins with a ring of ``log_bytes``.

        Blocks until the daemon has answered. Raises ``HandoverFailedError`` when it
        refuses, and ``TimeoutError`` when it does not answer within 5 s.
        """
        try:
            self._socket.settimeout(_TIMEOUT_SECS)
            self._socket.connect(self._path)
            message = Handover(self._session_id, SHARE, 0, first.size_bytes, 0, log_bytes)
            socket.send_fds(self._socket, [message.encode()], [first.fd])
            reply = HandoverReply.decode(self._socket.recv(REPLY_BYTES_MAX))
            if reply.refusal:
                raise HandoverFailedError(reply.refusal)
            self._socket.setblocking(False)
        except TimeoutError:
            self.close()
            raise
        except (OSError, HandoverError) as error:
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
            try:
                socket.send_fds(self._socket, [message.encode()], [made.fd])
            except OSError:
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

    def close(self) -> None:
        """Ends the connection, in this process only."""
        self._socket.close()
