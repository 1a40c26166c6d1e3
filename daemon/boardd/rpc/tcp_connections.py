"""The connections over TCP that the daemon has accepted, and the end of those that may not stay.

gRPC accepts connections and has no limit for those that never make a call. So they are
looked for among the descriptors of the process and shut down from beside it; gRPC then
closes them as if the peer had.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from boardd.core.held import Held
from boardd.rpc.newcomers import Newcomers, Peer
from boardd.runs.event_files.descriptors import RESERVE_SHARE

_logger = logging.getLogger(__name__)

#: Time between two looks. What comes between them is bounded by ``max_connections``.
LOOK_SECS: Final = 1.0
_DESCRIPTORS: Final = "/proc/self/fd"
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def max_connections() -> int:
    """How many connections over TCP there may be at once.

    Half of the descriptors that runs leave: local clients find room in the other half,
    whatever other hosts do.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, int(allowed * RESERVE_SHARE / 2))


class TcpConnections:
    """Closes connections to ``port`` that ``newcomers`` does not let stay."""

    def __init__(
        self, port: int, newcomers: Newcomers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._port = port
        self._newcomers = newcomers
        self._clock = clock
        #: By inode, of every socket of the process; None: not one of ours.
        self._known: dict[int, Peer | None] = {}

    def held(self) -> Iterator[Held]:
        """How many connections the last look found, and how many of them are newcomers."""
        count = sum(peer is not None for peer in self._known.values())
        yield Held("tcp-connections", count, max_connections())
        yield self._newcomers.held()

    async def watch(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # a defect, and the next look may be a better one
                _logger.exception("connections over TCP cannot be looked at")
            await asyncio.sleep(LOOK_SECS)

    async def look(self) -> None:
        """Closes the connections that may not stay, if descriptors can be listed."""
        # With thousands of runs this takes milliseconds.
        sockets = await asyncio.to_thread(_sockets)
        if sockets is not None:
            self._look(sockets)

    def _look(self, sockets: Mapping[int, int]) -> None:
        """Closes those among ``sockets``, descriptors by inode, that may not stay."""
        known: dict[int, Peer | None] = {}
        for inode, descriptor in sockets.items():
            if inode in self._known:
                known[inode] = self._known[inode]
            else:
                with contextlib.suppress(OSError):  # the next look may find out
                    known[inode] = self._peer(descriptor, inode)
        self._known = known
        connections = {inode: peer for inode, peer in self._known.items() if peer is not None}
        closed = self._newcomers.to_close(connections, self._clock())
        for inode in closed:
            with contextlib.suppress(OSError), _opened(sockets[inode], inode) as connection:
                if connection is not None:
                    connection.shutdown(socket.SHUT_RDWR)
        if closed:
            _logger.warning(
                "connections over TCP closed on which no call was let in: %d, the last from %s; is "
                "the token of that host right?",
                len(closed),
                connections[closed[-1]].host,
            )

    def _peer(self, descriptor: int, inode: int) -> Peer | None:
        """None for a socket that is no connection to the port. Raises ``OSError``."""
        with _opened(descriptor, inode) as connection:
            if connection is None or connection.family not in _FAMILIES:
                return None
            try:
                if connection.getsockname()[1] != self._port:
                    return None
                host, port, *_ = connection.getpeername()
            except OSError:  # it listens, or its peer is gone
                return None
        return Peer(_plain(host), port)


def peer_of(text: str) -> Peer | None:
    """The peer that gRPC calls ``text``, such as ``ipv4:192.0.2.1:4000``; None: not over TCP."""
    family, _, rest = text.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if family not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return Peer(_plain(host.removeprefix("[").removesuffix("]")), int(port))


def _plain(host: str) -> str:
    """``host`` without its zone, and without the IPv6 form of an IPv4 address.

    gRPC and the system name the zone of a link-local address by its number, its name or not.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _sockets() -> dict[int, int] | None:
    """The descriptors of the sockets of the process, by inode; None if they cannot be listed."""
    try:
        names = os.listdir(_DESCRIPTORS)
    except OSError:  # there is no descriptor left, say
        return None
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                found[status.st_ino] = int(name)
    return found


@contextlib.contextmanager
def _opened(descriptor: int, inode: int) -> Iterator[socket.socket | None]:
    """A socket by a descriptor of its own; None if ``descriptor`` is another's meanwhile.

    Raises ``OSError`` if there is no descriptor for it.
    """
    own = os.dup(descriptor)
    connection = None
    with contextlib.suppress(OSError):
        if os.fstat(own).st_ino == inode:
            connection = socket.socket(fileno=own)
    if connection is None:
        os.close(own)
        yield None
        return
    with connection:
        yield connection
