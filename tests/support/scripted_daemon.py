"""A gRPC server that does what a test says, to see what the client makes of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from boardd_protos import REVISION
from boardd_protos import boardd_pb2 as pb
from boardd_protos import frame as framing
from boardd_protos.boardd_pb2_grpc import BoarddServicer, add_BoarddServicer_to_server
from boardd_protos.socket_owner import SocketOwner, lock_path


class ScriptedDaemon(BoarddServicer):
    """Takes what clients send. Acknowledges by itself, unless ``acknowledges`` is False.

    ``start`` and ``stop`` may be called again and again; what was received stays,
    unless ``forget`` is called, as a daemon that restarts forgets.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))
        self.socket = self._directory / "s"
        self._server: grpc.Server | None = None
        self._held = contextlib.ExitStack()  # its lock file
        self._lock = threading.Lock()
        self._outgoing: queue.SimpleQueue[pb.DaemonMessage | None] = queue.SimpleQueue()
        self.acknowledges = True
        self.revision = REVISION
        self.open_error: tuple[grpc.StatusCode, str] | None = None
        self.reads = threading.Event()
        self.reads.set()
        self.opens: list[pb.OpenRequest] = []
        self.closes: list[pb.CloseRequest] = []
        self.flushes: list[pb.FlushRequest] = []
        self.flush_reply = pb.FlushReply(reached=True)
        self.metadata: list[dict[str, str]] = []
        self.definitions: list[pb.Definitions] = []
        self.reports: list[dict[str, int]] = []
        self.drop_steps: list[int] = []
        self.frames: dict[bytes, list[framing.Frame]] = {}
        self.written: dict[bytes, int] = {}
        self._told: dict[bytes, int] = {}  # received, as Open said it
        self.all_tensors: dict[tuple[int, int], bytes] = {}  # by sequence and tensor
        self.duplicates = 0
        self.active_streams = 0

    @property
    def address(self) -> str:
        """Its address, as ``SummaryWriter`` takes it."""
        return f"unix:{self.socket}"

    @property
    def all_frames(self) -> list[framing.Frame]:
        """The frames of all sessions, each session's in order."""
        with self._lock:
            return [frame for frames in self.frames.values() for frame in frames]

    @property
    def tensors(self) -> dict[int, bytes]:
        """The first tensor of each record, by sequence number."""
        return {
            sequence: data for (sequence, tensor), data in self.all_tensors.items() if not tensor
        }

    def values(self) -> list[float]:
        """The values of all scalars."""
        return [frame.value for frame in self.all_frames if frame.kind == framing.FrameKind.SCALAR]

    def start(self) -> None:
        """Serves."""
        self._server = grpc.server(futures.ThreadPoolExecutor(20))
        add_BoarddServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        path = lock_path(self.socket)
        path.write_bytes(SocketOwner(revision=self.revision).encode())
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._held.callback(os.close, lock)
        self._held.callback(path.unlink)
        self._server.start()

    def stop(self) -> None:
        """Ends at once; streams break."""
        self.reads.set()
        self._outgoing.put(None)
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None
        self._held.close()

    def forget(self) -> None:
        """Forgets the sessions, as a restarted daemon does; keeps ``frames`` for the test."""
        with self._lock:
            self.written.clear()

    def send(self, **message: Any) -> None:
        """Sends a ``DaemonMessage`` on the stream."""
        self._outgoing.put(pb.DaemonMessage(**message))

    def break_stream(self) -> None:
        """Ends the stream."""
        self._outgoing.put(None)

    def _received(self, session_id: bytes) -> int:
        frames = self.frames.get(session_id)
        return frames[-1].sequence if frames and session_id in self.written else 0

    def Open(self, request: pb.OpenRequest, context: grpc.ServicerContext) -> pb.OpenReply:
        with self._lock:
            self.opens.append(request)
            self.metadata.append({str(k): str(v) for k, v in context.invocation_metadata()})
        if self.open_error is not None:
            context.abort(*self.open_error)
        with self._lock:
            known = self._received(request.session_id)
            received = max(known, request.acknowledged_sequence)
            self._told[request.session_id] = known
            written = self.written.setdefault(request.session_id, request.acknowledged_sequence)
            return pb.OpenReply(
                protocol_version=1,
                received_sequence=received,
                written_sequence=max(written, request.acknowledged_sequence),
                revision=self.revision,
            )

    def Stream(
        self, requests: Iterator[pb.ClientMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.DaemonMessage]:
        session_id = next(requests).attach.session_id
        outgoing = self._outgoing = queue.SimpleQueue()
        self.active_streams += 1
        with self._lock:
            received = self._told[session_id]  # no more: the client sends what is behind that
        if self.acknowledges and received:  # what the stream before did not get to
            self.send(acknowledged=pb.Acknowledged(written_sequence=received))

        def read() -> None:
            with contextlib.suppress(Exception):  # the stream is gone
                for message in requests:
                    self.reads.wait()
                    self._take(session_id, message, outgoing)
            outgoing.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while (message := outgoing.get()) is not None:
                if message.HasField("acknowledged"):
                    self.written[session_id] = message.acknowledged.written_sequence
                yield message
        finally:
            self.active_streams -= 1

    def _take(
        self,
        session_id: bytes,
        message: pb.ClientMessage,
        outgoing: queue.SimpleQueue[pb.DaemonMessage | None],
    ) -> None:
        kind = message.WhichOneof("message")
        with self._lock:
            if kind == "definitions":
                self.definitions.append(message.definitions)
            elif kind == "report":
                self.reports.append({drop.reason: drop.records for drop in message.report.dropped})
                self.drop_steps += [drop.step for drop in message.report.dropped]
            elif kind == "chunk":
                chunk = message.chunk
                key = chunk.sequence, chunk.tensor
                data = self.all_tensors.get(key, b"")[: chunk.offset]
                assert len(data) == chunk.offset
                self.all_tensors[key] = data + chunk.data
            elif kind == "records":
                frames = self.frames.setdefault(session_id, [])
                for frame in framing.decode(message.records.frames):
                    if frames and frame.sequence <= frames[-1].sequence:
                        self.duplicates += 1
                    else:
                        frames.append(frame)
                last = frames[-1].sequence
        if kind == "records" and self.acknowledges:
            outgoing.put(pb.DaemonMessage(acknowledged=pb.Acknowledged(written_sequence=last)))

    def Flush(self, request: pb.FlushRequest, context: grpc.ServicerContext) -> pb.FlushReply:
        self.flushes.append(request)
        return self.flush_reply

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseReply:
        self.closes.append(request)
        return pb.CloseReply(closed=True)

    def __enter__(self) -> ScriptedDaemon:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory)
