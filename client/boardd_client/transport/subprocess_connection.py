"""A connection by way of a helper process, for a process that must not use gRPC.

Such a process was forked from one in which gRPC is loaded (see
``grpc_connection``). ``SubprocessConnection`` starts Python with this module's
``main`` and talks to it over two pipes; the helper process holds the gRPC
connection. It ends when its standard input does, hence also when its parent is
killed.

Both pipes carry packets, little-endian::

    offset  type  field
         0  u8    packet_type    a _PacketType
         1  u32   call           of a call and its answer, else 0
         5  u32   payload_bytes
         9        payload        a serialized message; for FAILED and ENDED, UTF-8
                                 text: the code's name, a newline, the message

Calls are numbered, so that several can be under way, and a late answer is not
taken for that of a later call.
"""

from __future__ import annotations

import contextlib
import enum
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple

from boardd_protos import address as addresses
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address
from boardd_protos.limits import MAX_TIMEOUT_SECS

from boardd_client.environment import Access
from boardd_client.transport.connection import ANSWER_SECS, ConnectionFailedError, Events
from boardd_client.transport.grpc_connection import GrpcConnection
from boardd_client.transport.outbox import Outbox

#: Python puts the working directory first, from which this process may not import.
_COMMAND: Final = (
    "import sys; sys.path = [path for path in sys.path if path]; "
    f"from {__name__} import main; main()"
)
_HEADER: Final = struct.Struct("<BII")
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


class _Packet(NamedTuple):
    packet_type: _PacketType
    call: int
    payload: bytes


#: By number; None: no answer yet.
_Answers = dict[int, _Packet | None]


class SubprocessConnection:
    """See ``Connection``."""

    def __init__(self, address: Address, events: Events) -> None:
        self._address = address
        self._events = events
        self._outbox = Outbox(events.on_room)
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._answered = threading.Condition()
        self._answers: _Answers = {}  # of the calls that wait
        self._last_call = 0
        self._error: ConnectionFailedError | None = None  # how the stream ended, if it has
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def open(self, request: pb.OpenRequest, timeout_secs: float) -> pb.OpenReply:
        """See ``Connection``."""
        if not sys.executable:
            raise ConnectionFailedError(
                "UNAVAILABLE", "no Python interpreter for the helper process"
            )
        paths = [path or os.curdir for path in sys.path]
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
        secs = min(request.timeout_secs, MAX_TIMEOUT_SECS) + ANSWER_SECS
        answer = self._ask(_PacketType.FLUSH, request.SerializeToString(), secs)
        reply: pb.FlushReply = pb.FlushReply.FromString(answer)
        return reply

    def end(self, request: pb.CloseRequest) -> pb.CloseReply:
        """See ``Connection``."""
        secs = min(request.timeout_secs, MAX_TIMEOUT_SECS) + ANSWER_SECS
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
        deadline = time.monotonic() + timeout_secs
        with self._answered:
            if self._error is not None:
                # Each call has its own: a traceback names the frame, and grows with each raise.
                raise ConnectionFailedError(self._error.code, self._error.message)
            self._last_call = call = self._last_call + 1
            self._answers[call] = None
        try:
            self._send_call(_Packet(packet_type, call, payload), deadline)
            with self._answered:
                self._answered.wait_for(
                    lambda: self._answers[call] is not None or self._is_closed,
                    max(0.0, deadline - time.monotonic()),
                )
        except (OSError, ValueError):
            raise ConnectionFailedError("UNAVAILABLE", "the helper process has ended") from None
        finally:
            with self._answered:
                answer = self._answers.pop(call)
        if answer is None:
            code = "CANCELLED" if self._is_closed else "DEADLINE_EXCEEDED"
            raise ConnectionFailedError(code, "the helper process does not answer")
        if answer.packet_type == _PacketType.FAILED:
            raise _decode_failure(answer.payload)
        return answer.payload

    def _send_call(self, packet: _Packet, deadline: float) -> None:
        """Sends a call, or gives up at ``deadline``: the pipe may be full of records."""
        file = self._input()
        if not self._write_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return
        try:
            poll = select.poll()
            poll.register(file, select.POLLOUT)
            if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                _write_packet(file, packet)
        finally:
            self._write_lock.release()

    def _input(self) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        return process.stdin

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for message in self._outbox:
                packet = _Packet(_PacketType.MESSAGE, 0, message.SerializeToString())
                with self._write_lock:
                    _write_packet(self._input(), packet)

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        error = ConnectionFailedError("UNAVAILABLE", "the helper process has ended")
        with contextlib.suppress(OSError, ValueError):
            while packet := _read_packet(process.stdout):
                if packet.packet_type == _PacketType.MESSAGE:
                    self._events.on_message(pb.DaemonMessage.FromString(packet.payload))
                elif packet.packet_type == _PacketType.ENDED:
                    error = _decode_failure(packet.payload)
                    break
                else:
                    self._settle(packet)
        process.stdout.close()
        self._outbox.close()
        self._fail_calls(error)
        self._events.on_end(error)

    def _settle(self, answer: _Packet) -> None:
        with self._answered:
            if answer.call in self._answers:  # else its caller has given up
                self._answers[answer.call] = answer
                self._answered.notify_all()

    def _fail_calls(self, error: ConnectionFailedError) -> None:
        with self._answered:
            self._error = error
            for call in [call for call, answer in self._answers.items() if answer is None]:
                self._answers[call] = _Packet(_PacketType.FAILED, call, _encode_failure(error))
            self._answered.notify_all()


class _HelperProcess:
    """The process at the other end: passes packets to a gRPC connection and back."""

    def __init__(self, address: Address) -> None:
        self._output = sys.stdout.buffer
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._has_ended = False  # the stream has
        self._connection = GrpcConnection(address, self, Access.from_environ(os.environ))

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
            if packet.packet_type == _PacketType.MESSAGE:
                while not self._connection.has_room() and os.getppid() == parent:
                    # A timeout, since a connection that has ended makes no room either.
                    if not self._room.wait(0.1) and self._has_ended:
                        return
                    self._room.clear()
                message = pb.ClientMessage.FromString(packet.payload)
                if message.HasField("attach"):
                    self._connection.attach(message.attach)
                else:
                    self._connection.send(message)
            elif packet.packet_type == _PacketType.OPEN:
                self._answer(calls[packet.packet_type], packet)
            else:
                # Records must go on while a flush waits for them.
                threading.Thread(
                    target=self._answer, args=(calls[packet.packet_type], packet), daemon=True
                ).start()
        self._connection.close()

    def _open(self, data: bytes) -> tuple[_PacketType, Any]:
        (timeout_secs,) = struct.unpack_from("<d", data)
        request = pb.OpenRequest.FromString(data[8:])
        return _PacketType.OPENED, self._connection.open(request, timeout_secs)

    def _answer(self, call: Callable[[bytes], tuple[_PacketType, Any]], packet: _Packet) -> None:
        try:
            packet_type, reply = call(packet.payload)
        except ConnectionFailedError as error:
            self._tell(_PacketType.FAILED, _encode_failure(error), packet.call)
        else:
            self._tell(packet_type, reply.SerializeToString(), packet.call)

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

    def _tell(self, packet_type: _PacketType, payload: bytes, call: int = 0) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            _write_packet(self._output, _Packet(packet_type, call, payload))


def _encode_failure(error: ConnectionFailedError) -> bytes:
    return f"{error.code}\n{error.message}".encode()


def _decode_failure(text: bytes) -> ConnectionFailedError:
    code, _, message = text.decode(errors="replace").partition("\n")
    return ConnectionFailedError(code, message)


def _write_packet(file: Any, packet: _Packet) -> None:
    packet_type, call, payload = packet
    file.write(_HEADER.pack(packet_type, call, len(payload)) + payload)
    file.flush()


def _read_packet(file: BinaryIO | Any) -> _Packet | None:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    packet_type, call, length = _HEADER.unpack(header)
    payload = file.read(length)
    return _Packet(_PacketType(packet_type), call, payload) if len(payload) == length else None


def main() -> None:
    """Connects standard input and output with the daemon at the address in ``argv``."""
    _HelperProcess(addresses.parse(sys.argv[1])).serve()
