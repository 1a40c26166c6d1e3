"""The port on which Prometheus reads the daemon's metrics: HTTP on the event loop.

Whoever can reach the port may be silent, slow or many, and a web page that a user of this
host looks at may reach it too. So a peer has one request, a deadline for all of it, and its
place only until too many others come; and a request names this host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from boardd.errors import AddressTakenError, ConfigError
from boardd.metrics.families import families
from boardd.metrics.shown_runs import ShownRuns

#: From a peer's connection to the end of its answer.
ANSWER_SECS: Final = 10.0
#: Peers at once. One more takes the place of the oldest, of those that have not asked yet if
#: there are any.
MAX_PEERS: Final = 8
_MAX_REQUEST_BYTES: Final = 16 << 10
_PATH: Final = "/metrics"

_logger = logging.getLogger("boardd")


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


_NOT_FOUND: Final = _Answer(HTTPStatus.NOT_FOUND, f"metrics are at {_PATH}\n".encode())
_NO_METHOD: Final = _Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD are answered\n")
_FOREIGN: Final = _Answer(
    HTTPStatus.MISDIRECTED_REQUEST,
    b"the request is for another host: ask for localhost, or let the proxy send this as Host\n",
)
_INDEX: Final = _Answer(
    HTTPStatus.OK,
    f'<!doctype html><title>boardd</title><a href="{_PATH}">metrics</a>\n'.encode(),
    "text/html; charset=utf-8",
)


@dataclass(eq=False)
class _Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    has_asked: bool = False


class _Collected(Collector):
    """Families that were made before."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Returns them."""
        return self._found


class MetricsPort:
    """Serves ``status`` at ``http://HOST:PORT/metrics``, once ``start`` is called.

    For the event loop's thread. Port 0 takes a free one, which ``address`` tells. A peer has
    ``answer_secs``, all in all.

    Raises ``AddressTakenError`` if another process has the port, and ``ConfigError`` if it
    cannot be bound.
    """

    def __init__(
        self,
        listen: TcpAddress,
        status: Callable[[], Awaitable[pb.StatusReply]],
        answer_secs: float = ANSWER_SECS,
    ) -> None:
        self._listener = _bound(listen)
        self.address = TcpAddress(listen.host, self._listener.getsockname()[1])
        self._status = status
        self._answer_secs = answer_secs
        self._server: asyncio.Server | None = None
        #: The oldest first.
        self._peers: dict[_Peer, asyncio.Task[None]] = {}
        #: Guards the runs that are shown, for texts are made on threads.
        self._lock = threading.Lock()
        self._shown = ShownRuns()

    async def start(self) -> None:
        """Serves from now on."""
        self._server = await asyncio.start_server(
            self._accept, sock=self._listener, limit=_MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Serves no more. A scrape under way fails."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        tasks = list(self._peers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._peers) >= MAX_PEERS:
            self._peers.pop(min(self._peers, key=lambda peer: peer.has_asked)).cancel()
        peer = _Peer(reader, writer)
        loop = asyncio.get_running_loop()
        task = self._peers[peer] = loop.create_task(self._serve(peer))
        deadline = loop.call_later(self._answer_secs, task.cancel)

        def end(_: asyncio.Task[None]) -> None:
            deadline.cancel()
            self._peers.pop(peer, None)
            # Also if it was cancelled before it began.
            writer.transport.abort()

        task.add_done_callback(end)

    async def _serve(self, peer: _Peer) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST_BYTES)
        is_head = False
        try:
            try:
                request = await _request(peer.reader, connection)
                if request is None:
                    return
                peer.has_asked = True
                is_head = request.method == b"HEAD"
                answer = await self._answer(request)
            except h11.RemoteProtocolError as error:
                text = f"no request that can be read: {error}\n"
                answer = _Answer(HTTPStatus(error.error_status_hint), text.encode())
            peer.writer.write(_encoded(connection, answer, is_head=is_head))
            peer.writer.close()
            await peer.writer.wait_closed()
        except OSError:  # it has left
            return
        except Exception:  # a defect, and the next scrape may go well
            _logger.exception("metrics cannot be told")

    async def _answer(self, request: h11.Request) -> _Answer:
        headers = {name: value.decode("latin-1") for name, value in request.headers}
        if not self._is_own(headers.get(b"host", "")):
            return _FOREIGN
        if request.method not in (b"GET", b"HEAD"):
            return _NO_METHOD
        path = request.target.decode("latin-1").partition("?")[0]
        if path == "/":
            return _INDEX
        if path != _PATH:
            return _NOT_FOUND
        status = await self._status()
        # With many runs this takes milliseconds.
        return await asyncio.to_thread(self._told, status, headers.get(b"accept", ""))

    def _told(self, status: pb.StatusReply, accept: str) -> _Answer:
        with self._lock:
            found = list(families(status, self._shown))
        encode, content_type = choose_encoder(accept)
        return _Answer(HTTPStatus.OK, encode(_Collected(found)), content_type)

    def _is_own(self, host: str) -> bool:
        """Whether ``host``, as a request has it, names this one and no name made to lead here."""
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            return name == self.address.host or TcpAddress(name, 0).is_loopback
        return False


async def _request(reader: asyncio.StreamReader, connection: h11.Connection) -> h11.Request | None:
    """What a peer asks; None if it leaves before. Raises ``h11.RemoteProtocolError``."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(_MAX_REQUEST_BYTES))


def _encoded(connection: h11.Connection, answer: _Answer, *, is_head: bool) -> bytes:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Connection", "close"),
    ]
    events: list[h11.Event] = [
        h11.Response(
            status_code=answer.status, headers=headers, reason=answer.status.phrase.encode()
        ),
        *([] if is_head else [h11.Data(data=answer.body)]),
        h11.EndOfMessage(),
    ]
    return b"".join(connection.send(event) or b"" for event in events)


def _bound(listen: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((listen.host, listen.port))
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressTakenError(
                f"--metrics {listen}: another process has this port; choose another, or 0 "
                "for a free one"
            ) from None
        raise ConfigError(
            f"--metrics {listen}: {error.strerror or error}; name an address of this machine, "
            "such as 127.0.0.1, and a port from 1024 on"
        ) from None
    return listener
