"""The port on which Prometheus reads the daemon's metrics."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import logging
import socket
import socketserver
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from boardd.errors import AddressTakenError, ConfigError
from boardd.metrics.families import families
from boardd.metrics.shown_runs import ShownRuns

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: How long a scrape waits for the event loop, and a peer may take to ask.
_ANSWER_SECS: Final = 10.0
#: Scrapes that are answered at once.
_MAX_SCRAPES: Final = 8

_logger = logging.getLogger("boardd")


class MetricsPort:
    """Serves ``status`` at ``http://HOST:PORT/metrics``, on threads of its own.

    To be made on the event loop's thread, on which ``status`` is called. Port 0 takes a free
    one, which ``address`` tells.

    Raises ``AddressTakenError`` if another process has the port, and ``ConfigError`` if it
    cannot be bound.
    """

    def __init__(self, listen: TcpAddress, status: Callable[[], Awaitable[pb.StatusReply]]) -> None:
        registry = CollectorRegistry()
        registry.register(_StatusCollector(status, asyncio.get_running_loop()))
        try:
            self._server = _Server(listen)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressTakenError(
                    f"--metrics {listen}: another process has this port; choose another, or 0 "
                    "for a free one"
                ) from None
            raise ConfigError(f"--metrics {listen}: {error.strerror or error}") from None
        self._server.set_app(_answering(make_wsgi_app(registry)))
        self.address = TcpAddress(listen.host, self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="boardd-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serves no more. A scrape under way may fail."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answering(scrape: WSGIApplication) -> WSGIApplication:
    """``scrape``, which says so if the daemon does not answer in time."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return scrape(environ, start_response)
        except concurrent.futures.TimeoutError:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [f"boardd did not answer in {_ANSWER_SECS:g} s\n".encode()]

    return answer


class _StatusCollector(Collector):
    """Asks for the status at each scrape, in the turn of the event loop."""

    def __init__(
        self, status: Callable[[], Awaitable[pb.StatusReply]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._status = status
        self._loop = loop
        #: Guards the runs that are shown.
        self._lock = threading.Lock()
        self._shown = ShownRuns()

    def describe(self) -> list[Metric]:
        """Nothing: the registry would scrape, and wait for the loop on its own thread."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields the families of the daemon's status. Raises ``TimeoutError``."""

        async def asked() -> pb.StatusReply:
            return await self._status()

        future = asyncio.run_coroutine_threadsafe(asked(), self._loop)
        try:
            status = future.result(_ANSWER_SECS)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise
        with self._lock:
            yield from list(families(status, self._shown))


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each scrape, which does not keep the daemon from leaving."""

    daemon_threads = True
    # Else an end would wait for a peer that asks nothing.
    block_on_close = False

    def __init__(self, listen: TcpAddress) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._places = threading.BoundedSemaphore(_MAX_SCRAPES)
        super().__init__((listen.host, listen.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves on a thread, or closes the connection if too many are being served."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves, and gives the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says what failed in the daemon's own log; a peer that leaves early is nothing."""
        _logger.debug("a scrape failed", exc_info=True)

    def server_bind(self) -> None:
        """Binds without asking the resolver for the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = _ANSWER_SECS

    def log_message(self, format: str, *args: object) -> None:
        """Logs no scrape."""
