"""A gRPC connection to a daemon: Open, Attach, then a stream in both directions.

gRPC is imported only here, and only when the first connection is made, so that a
program pays for it on a background thread, or not at all.

gRPC and ``fork`` do not go together: its fork handlers may hang or abort if a
fork falls into a moment in which a channel is being closed (seen with grpcio
1.85: a child in about one of a hundred, once the parent). So if the program has
not loaded gRPC itself, it is loaded without its fork handlers, which makes
``fork`` in the parent safe at any moment; and a child of a process that has it
loaded never touches it, and uses ``subprocess_connection`` instead.

Nor do gRPC and the interpreter's end: a gRPC thread that is frozen there while it
holds a call's lock keeps it for ever, and the call's finalizer waits for that lock
(seen with grpcio 1.85: one process in some hundreds never ended). So ``close`` waits
for gRPC's threads, and no reference cycle leaves a call to the last collection.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address, TcpAddress
from boardd_protos.limits import DEFAULT_MESSAGE_BYTES, MAX_TIMEOUT_SECS
from boardd_protos.reasons import AUTHORIZATION

from boardd_client.environment import Access, token_in_clear
from boardd_client.transport.access_files import explained, read_token, tls_files
from boardd_client.transport.connection import ANSWER_SECS, ConnectionFailedError, Events
from boardd_client.transport.outbox import Outbox

if TYPE_CHECKING:
    import grpc

_FORK_VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"
_VERBOSITY: Final = "GRPC_VERBOSITY"
#: They end within milliseconds, unless the process is starved.
_THREADS_END_SECS: Final = 2.0


class GrpcConnection:
    """A connection over a channel of its own. See ``Connection``."""

    def __init__(self, address: Address, events: Events, access: Access | None = None) -> None:
        self._address = address
        self._events = events
        self._access = access or Access()
        self._metadata: tuple[tuple[str, str], ...] | None = None
        self._outbox = Outbox(events.on_room)
        self._lock = threading.RLock()
        self._is_closed = False
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._stream: Any = None
        #: gRPC's thread that runs the stream's events, once the stream has ended.
        self._event_thread: Future[threading.Thread] = Future()
        self._reader: threading.Thread | None = None

    def open(self, request: pb.OpenRequest, timeout_secs: float) -> pb.OpenReply:
        """See ``Connection``."""
        self._metadata = self._authorization()
        grpc = _load_grpc()
        from boardd_protos.boardd_pb2_grpc import BoarddStub

        with self._lock:
            if self._is_closed:
                raise ConnectionFailedError("CANCELLED", "closed")
            self._channel = self._make_channel(grpc)
            self._stub = BoarddStub(self._channel)
        reply: pb.OpenReply = self._call(self._stub.Open, request, timeout_secs)
        return reply

    def attach(self, attach: pb.Attach) -> None:
        """See ``Connection``."""
        grpc = _load_grpc()
        with self._lock:
            if self._is_closed:
                raise ConnectionFailedError("CANCELLED", "closed")
            self._outbox.put(pb.ClientMessage(attach=attach))
            stream = self._stub.Stream(self._outbox, metadata=self._metadata)
            stream.add_done_callback(
                lambda _: self._event_thread.set_result(threading.current_thread())
            )
            self._stream = stream
            self._reader = threading.Thread(
                target=self._read, args=(stream, grpc), name="boardd-reader", daemon=True
            )
            self._reader.start()

    def has_room(self) -> bool:
        """See ``Connection``."""
        return self._outbox.has_room()

    def send(self, message: pb.ClientMessage) -> None:
        """See ``Connection``."""
        self._outbox.put(message)

    def flush(self, request: pb.FlushRequest) -> pb.FlushReply:
        """See ``Connection``."""
        reply: pb.FlushReply = self._call(self._stub.Flush, request, _call_secs(request))
        return reply

    def end(self, request: pb.CloseRequest) -> pb.CloseReply:
        """See ``Connection``."""
        reply: pb.CloseReply = self._call(self._stub.Close, request, _call_secs(request))
        return reply

    def close(self) -> None:
        """See ``Connection``."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            stream, channel = self._stream, self._channel
            self._stream = None
        self._outbox.close()
        if stream is not None:
            stream.cancel()
        if channel is not None:
            channel.close()
        if stream is not None:
            self._join_threads()

    def _join_threads(self) -> None:
        deadline = time.monotonic() + _THREADS_END_SECS
        threads = {self._reader}
        with contextlib.suppress(FutureTimeoutError):
            threads.add(self._event_thread.result(_THREADS_END_SECS))
        threads.add(self._outbox.taker)
        for thread in threads:
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _make_channel(self, grpc: Any) -> grpc.Channel:
        options: list[tuple[str, int]] = [
            ("grpc.max_send_message_length", DEFAULT_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", DEFAULT_MESSAGE_BYTES),
            # A new connection tries at once, whatever happened to the one before.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_retries", 0),
            # Else each message that comes is answered with a ping, which costs as much.
            ("grpc.http2.bdp_probe", 0),
        ]
        if not isinstance(self._address, TcpAddress):
            # A proxy set for the web is not for a socket file.
            options.append(("grpc.enable_http_proxy", 0))
            return grpc.insecure_channel(self._address.target, options)
        # A host that is gone is noticed within 80 s.
        options += [("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000)]
        if self._address.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))
        if not self._access.tls_ca:
            return grpc.insecure_channel(self._address.target, options)
        credentials = grpc.ssl_channel_credentials(**tls_files(self._access))
        return grpc.secure_channel(self._address.target, credentials, options)

    def _authorization(self) -> tuple[tuple[str, str], ...] | None:
        in_clear = token_in_clear(self._address, self._access)
        if in_clear:
            raise ConnectionFailedError("INVALID_ARGUMENT", in_clear)
        try:
            token = read_token(self._access)
        except ConnectionFailedError:
            if isinstance(self._address, TcpAddress):
                raise
            token = ""  # a daemon of this host asks for none
        return ((AUTHORIZATION, f"Bearer {token}"),) if token else None

    def _call(self, method: Any, request: Any, timeout_secs: float) -> Any:
        grpc = _load_grpc()
        try:
            # Not a gRPC future, whose events need a thread; closing the channel cancels the call.
            return method(request, timeout=timeout_secs, metadata=self._metadata)
        except ValueError:
            raise ConnectionFailedError("CANCELLED", "the channel is closed") from None
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def _failed(self, error: Any) -> ConnectionFailedError:
        """``error`` may be the call itself: without its traceback, it is in no reference cycle."""
        error.__traceback__ = None
        details = error.details() or ""
        if isinstance(self._address, TcpAddress):
            details = explained(details, self._access, self._address)
        return ConnectionFailedError(error.code().name, details)

    def _read(self, stream: Any, grpc: Any) -> None:
        error = ConnectionFailedError("OK", "the daemon ended the stream")
        try:
            for message in stream:
                self._events.on_message(message)
        except grpc.RpcError as ended:
            error = self._failed(ended)
        finally:
            self._outbox.close()
            self._events.on_end(error)


def _call_secs(request: pb.FlushRequest | pb.CloseRequest) -> float:
    return min(request.timeout_secs, MAX_TIMEOUT_SECS) + ANSWER_SECS


def _load_grpc() -> Any:
    """Imports gRPC, without its fork handlers if the program has not imported it.

    So it is even if the environment asks for them: a child that was forked
    with them can hang in gRPC, and no child of ours uses gRPC. Its own lines on stderr, one for
    each try to connect, are left out unless ``GRPC_VERBOSITY`` asks for them: what they say,
    errors say.
    """
    if "grpc" not in sys.modules:
        wanted = {_FORK_VARIABLE: "0", _VERBOSITY: os.environ.get(_VERBOSITY) or "NONE"}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            import grpc

            # gRPC reads the variables when its core starts, and a channel starts it.
            grpc.insecure_channel("unix:/nonexistent").close()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    import grpc

    return grpc
