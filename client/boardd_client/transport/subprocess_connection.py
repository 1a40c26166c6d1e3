"""A connection by way of a helper process, for a process that must not use gRPC.

Such a process was forked from one in which gRPC is loaded (see
``grpc_connection``). ``SubprocessConnection`` starts Python with this module's
``main`` and talks to it over two pipes; the helper process holds the gRPC
connection. It ends when its standard input does, hence also when its parent is
killed.

Both pipes carry packets::

    offset  type  field
         0  u8    packet_type    a _PacketType
         1  u32   payload_bytes  little-endian
         5        payload        a serialized message; for FAILED and ENDED, UTF-8
                                 text: the code's name, a newline, the message
"""

from __future__ import annotations

import contextlib
import enum
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from boardd_protos import address as addresses
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address

from boardd_client.transport.connection import ConnectionFailedError, Events
from boardd_client.transport.grpc_connection import GrpcConnection
from boardd_client.transport.outbox import Outbox

_COMMAND: Final = f"from {__name__} import main; main()"
_HEADER: Final = struct.Struct("<BI")
_ANSWER_GRACE_SECS: Final = 5.0
#: A first start reads Python and gRPC from a cold disk.
_START_SECS: Final = 30.0


class _PacketType(enum.IntEnum):
    OPEN = 1  # f64 timeout in seconds, then the OpenRequest
    OPENED = 2
    MESSAGE = 3  # ClientMessage or DaemonMessage
    FLUSH = 4
    FLUSHED = 5
    CLOSE = 6
    CLOSED = 7
    FAILED = 8  # answers OPEN, FLUSH and CLOSE
    ENDED = 9  # the stream has


class SubprocessConnection:
    """See ``Connection``."""

    def __init__(self, address: Address, events: Events) -> None:
        self._address = address
        self._events = events
        self._outbox = Outbox(events.on_room)
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._answered = threading.Condition()
        self._answer: tuple[_PacketType, bytes] | None = None
        self._calling = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def open(self, request: pb.OpenRequest, timeout_secs: float) -> pb.OpenReply:
        """See ``Connection``."""
        if not sys.executable:
            raise ConnectionFailedError(
                "UNAVAILABLE", "no Python interpreter for the helper process"
            )
        paths = [path for path in sys.path if path]
        with self._lock:
            if self._is_closed:
                raise ConnectionFailedError("CANCELLED", "closed")
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND, str(self._address)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                    start_new_session=True,
                )
            except OSError as error:
                raise ConnectionFailedError(
                    "UNAVAILABLE", f"the helper process cannot be started: {error}"
                ) from None
            threading.Thread(target=self._read, name="boardd-reader", daemon=True).start()
        payload = struct.pack("<d", timeout_secs) + request.SerializeToString()
        answer = self._ask(_PacketType.OPEN, payload, _START_SECS + timeout_secs)
        threading.Thread(target=self._write, name="boardd-writer", daemon=True).start()
        reply: pb.OpenReply = pb.OpenReply.FromString(answer)
        return reply

    def attach(self, attach: pb.Attach) -> None:
        """See ``Connection``."""
        self._outbox.put(pb.ClientMessage(attach=attach))

    def has_room(self) -> bool:
        """See ``Connection``."""
        return self._outbox.has_room()

    def send(self, message: pb.ClientMessage) -> None:
        """See ``Connection``."""
        self._outbox.put(message)

    def flush(self, request: pb.FlushRequest) -> pb.FlushReply:
        """See ``Connection``."""
        secs = request.timeout_secs + _ANSWER_GRACE_SECS
        answer = self._ask(_PacketType.FLUSH, request.SerializeToString(), secs)
        reply: pb.FlushReply = pb.FlushReply.FromString(answer)
        return reply

    def end(self, request: pb.CloseRequest) -> pb.CloseReply:
        """See ``Connection``."""
        secs = request.timeout_secs + _ANSWER_GRACE_SECS
        answer = self._ask(_PacketType.CLOSE, request.SerializeToString(), secs)
        reply: pb.CloseReply = pb.CloseReply.FromString(answer)
        return reply

    def close(self) -> None:
        """See ``Connection``."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            process = self._process
        self._outbox.close()
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with self._write_lock, contextlib.suppress(OSError):
                process.stdin.close()
        with self._answered:
            self._answered.notify_all()

    def _ask(self, packet_type: _PacketType, payload: bytes, timeout_secs: float) -> bytes:
        with self._calling:
            with self._answered:
                self._answer = None
            try:
                self._send_packet(packet_type, payload)
            except (OSError, ValueError):
                raise ConnectionFailedError("UNAVAILABLE", "the helper process has ended") from None
            with self._answered:
                self._answered.wait_for(
                    lambda: self._answer is not None or self._is_closed, timeout_secs
                )
                answer = self._answer
        if answer is None:
            code = "CANCELLED" if self._is_closed else "DEADLINE_EXCEEDED"
            raise ConnectionFailedError(code, "the helper process does not answer")
        answered, content = answer
        if answered == _PacketType.FAILED:
            raise _decode_failure(content)
        return content

    def _send_packet(self, packet_type: _PacketType, payload: bytes) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with self._write_lock:
            _write_packet(process.stdin, packet_type, payload)

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for message in self._outbox:
                self._send_packet(_PacketType.MESSAGE, message.SerializeToString())

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        error = ConnectionFailedError("UNAVAILABLE", "the helper process has ended")
        with contextlib.suppress(OSError, ValueError):
            while packet := _read_packet(process.stdout):
                packet_type, payload = packet
                if packet_type == _PacketType.MESSAGE:
                    self._events.on_message(pb.DaemonMessage.FromString(payload))
                elif packet_type == _PacketType.ENDED:
                    error = _decode_failure(payload)
                    break
                else:
                    self._settle(packet_type, payload)
        process.stdout.close()
        self._outbox.close()
        self._settle(_PacketType.FAILED, _encode_failure(error), if_waiting=True)
        self._events.on_end(error)

    def _settle(
        self, packet_type: _PacketType, payload: bytes, *, if_waiting: bool = False
    ) -> None:
        with self._answered:
            if self._answer is None or not if_waiting:
                self._answer = (packet_type, payload)
            self._answered.notify_all()


class _HelperProcess:
    """The process at the other end: passes packets to a gRPC connection and back."""

    def __init__(self, address: Address) -> None:
        self._output = sys.stdout.buffer
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._has_ended = False  # the stream has
        self._connection = GrpcConnection(
            address,
            self,
            token=os.environ.get("BOARDD_TOKEN", ""),
            tls_ca=os.environ.get("BOARDD_TLS_CA", ""),
        )

    def serve(self) -> None:
        """Returns when the input ends."""
        calls: dict[_PacketType, Callable[[bytes], tuple[_PacketType, Any]]] = {
            _PacketType.OPEN: self._open,
            _PacketType.FLUSH: lambda data: (
                _PacketType.FLUSHED,
                self._connection.flush(pb.FlushRequest.FromString(data)),
            ),
            _PacketType.CLOSE: lambda data: (
                _PacketType.CLOSED,
                self._connection.end(pb.CloseRequest.FromString(data)),
            ),
        }
        parent = os.getppid()
        while os.getppid() == parent:
            packet = _read_packet(sys.stdin.buffer)
            if packet is None:
                break
            packet_type, payload = packet
            if packet_type == _PacketType.MESSAGE:
                while not self._connection.has_room() and os.getppid() == parent:
                    # A timeout, since a connection that has ended makes no room either.
                    if not self._room.wait(0.1) and self._has_ended:
                        return
                    self._room.clear()
                message = pb.ClientMessage.FromString(payload)
                if message.HasField("attach"):
                    self._connection.attach(message.attach)
                else:
                    self._connection.send(message)
            elif packet_type == _PacketType.OPEN:
                self._answer(calls[packet_type], payload)
            else:
                # Records must go on while a flush waits for them.
                threading.Thread(
                    target=self._answer, args=(calls[packet_type], payload), daemon=True
                ).start()
        self._connection.close()

    def _open(self, data: bytes) -> tuple[_PacketType, Any]:
        (timeout_secs,) = struct.unpack_from("<d", data)
        request = pb.OpenRequest.FromString(data[8:])
        return _PacketType.OPENED, self._connection.open(request, timeout_secs)

    def _answer(self, call: Callable[[bytes], tuple[_PacketType, Any]], payload: bytes) -> None:
        try:
            packet_type, reply = call(payload)
        except ConnectionFailedError as error:
            self._tell(_PacketType.FAILED, _encode_failure(error))
        else:
            self._tell(packet_type, reply.SerializeToString())

    def on_message(self, message: pb.DaemonMessage) -> None:
        """See ``Events``."""
        self._tell(_PacketType.MESSAGE, message.SerializeToString())

    def on_room(self) -> None:
        """See ``Events``."""
        self._room.set()

    def on_end(self, error: ConnectionFailedError) -> None:
        """See ``Events``."""
        self._has_ended = True
        self._tell(_PacketType.ENDED, _encode_failure(error))

    def _tell(self, packet_type: _PacketType, payload: bytes) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            _write_packet(self._output, packet_type, payload)


def _encode_failure(error: ConnectionFailedError) -> bytes:
    return f"{error.code}\n{error.message}".encode()


def _decode_failure(text: bytes) -> ConnectionFailedError:
    code, _, message = text.decode(errors="replace").partition("\n")
    return ConnectionFailedError(code, message)


def _write_packet(file: Any, packet_type: _PacketType, payload: bytes) -> None:
    file.write(_HEADER.pack(packet_type, len(payload)) + payload)
    file.flush()


def _read_packet(file: BinaryIO | Any) -> tuple[_PacketType, bytes] | None:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    packet_type, length = _HEADER.unpack(header)
    payload = file.read(length)
    return (_PacketType(packet_type), payload) if len(payload) == length else None


def main() -> None:
    """Connects standard input and output with the daemon at the address in ``argv``."""
    _HelperProcess(addresses.parse(sys.argv[1])).serve()
