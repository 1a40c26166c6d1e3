"""A client at its plainest, for tests of the daemon's process."""

from __future__ import annotations

import os
import queue
import socket
import uuid
from pathlib import Path

import grpc
from boardd_protos import MAX_PROTOCOL_VERSION
from boardd_protos import boardd_pb2 as pb
from boardd_protos import frame as framing
from boardd_protos.boardd_pb2_grpc import BoarddStub


class Session:
    """One session with one stream."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.session_id = uuid.uuid4().bytes
        self._stub = BoarddStub(channel)
        self._outbox: queue.SimpleQueue[pb.ClientMessage | None] = queue.SimpleQueue()
        self._stub.Open(
            pb.OpenRequest(
                min_protocol_version=1,
                max_protocol_version=MAX_PROTOCOL_VERSION,
                session_id=self.session_id,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                program="test",
            ),
            timeout=60,
        )
        self.send(attach=pb.Attach(session_id=self.session_id))
        self._call = self._stub.Stream(iter(self._outbox.get, None))

    def send(self, **message: object) -> None:
        self._outbox.put(pb.ClientMessage(**message))

    def define(self, logdir: Path) -> None:
        """Defines run 1 in ``logdir`` and its series 1, tagged ``loss``."""
        self.send(
            definitions=pb.Definitions(
                runs=[pb.RunDefinition(run=1, logdir=str(logdir), rank=-1)],
                series=[pb.SeriesDefinition(series=1, run=1, tag="loss")],
            )
        )

    def scalars(self, count: int) -> None:
        """Sends ``count`` scalars of series 1, value and step the sequence number."""
        frames = (
            framing.Frame(framing.FrameKind.SCALAR, 0, n, n, 1e9 + n, 1, float(n), b"")
            for n in range(1, count + 1)
        )
        self.send(records=pb.Records(frames=b"".join(map(framing.encode, frames))))

    def replies(self) -> list[pb.DaemonMessage]:
        """Reads until the daemon ends the stream."""
        return list(self._call)

    def close(self) -> None:
        reply = self._stub.Close(
            pb.CloseRequest(session_id=self.session_id, timeout_secs=10), timeout=60
        )
        assert reply.closed

    def hang_up(self) -> None:
        self._call.cancel()
        self._outbox.put(None)
