"""The service in this process, and a client that speaks the wire by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from boardd.core.budget import Budgets
from boardd.rpc.handlers import add_service
from boardd.rpc.service import Service
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from boardd_protos.frame import Frame, FrameKind, encode
from boardd_protos.local_socket import HANDOVER_SUFFIX

DEADLINE_SECS = 60.0
RUN = 1
LOSS = 1


def scalar(
    sequence: int,
    value: float = 0.5,
    *,
    step: int | None = None,
    series: int = LOSS,
    wall_time: float = 1e9,
    flags: int = 0,
) -> bytes:
    """A scalar's frame; its step is its sequence number unless given."""
    at = sequence if step is None else step
    return encode(Frame(FrameKind.SCALAR, flags, sequence, at, wall_time, series, value, b""))


def scalars(first: int, count: int, series: int = LOSS) -> bytes:
    """``count`` scalars from ``first`` on."""
    return b"".join(scalar(number, series=series) for number in range(first, first + count))


def summary(
    sequence: int,
    payload: pb.Payload,
    *,
    step: int | None = None,
    series: int = LOSS,
    wall_time: float = 1e9,
) -> bytes:
    """A frame with a payload."""
    at = sequence if step is None else step
    return encode(
        Frame(
            FrameKind.SUMMARY, 0, sequence, at, wall_time, series, 0.0, payload.SerializeToString()
        )
    )


def end_run(sequence: int, run: int = RUN) -> bytes:
    """The frame that ends a run."""
    return encode(Frame(FrameKind.END_RUN, 0, sequence, 0, 0.0, run, 0.0, b""))


def histogram_payload(values: np.ndarray, bins: int = 10) -> pb.Payload:
    """The payload of a histogram, whose values travel apart from it."""
    tensor = pb.Tensor(dtype=values.dtype.name, shape=values.shape)
    return pb.Payload(tensors=[tensor], histogram=pb.Histogram(count=bins))


def definitions(
    logdir: str,
    tags: dict[int, str] | None = None,
    *,
    run: int = RUN,
    sub_run: str = "",
    **more: Any,
) -> pb.Definitions:
    """One run and its series, of one process unless ``more`` says otherwise."""
    return pb.Definitions(
        runs=[pb.RunDefinition(run=run, logdir=logdir, **{"rank": -1, **more})],
        series=[
            pb.SeriesDefinition(series=number, run=run, tag=tag, sub_run=sub_run)
            for number, tag in (tags or {LOSS: "loss"}).items()
        ],
    )


class RawClient:
    """One session; what the daemon says is collected."""

    def __init__(self, channel: grpc.aio.Channel, session_id: bytes | None = None) -> None:
        self.stub = BoarddStub(channel)
        self.session_id = session_id or os.urandom(16)
        self.written_sequence = -1
        self.rejected: list[pb.Rejected] = []
        self.refused: list[pb.RunRefused] = []
        self.notices: list[str] = []
        self.draining = False
        #: Set when the stream has ended; None for a clean end.
        self.error: grpc.aio.AioRpcError | None = None
        self.ended = asyncio.Event()
        self._news = asyncio.Event()
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, acknowledged_sequence: int = 0, **more: Any) -> pb.OpenReply:
        request = {
            "min_protocol_version": 1,
            "max_protocol_version": 1,
            "session_id": self.session_id,
            "acknowledged_sequence": acknowledged_sequence,
            "hostname": "host",
            "pid": 4711,
            "program": "test",
            **more,
        }
        return await self.stub.Open(pb.OpenRequest(**request))

    async def attach(self, log_from: pb.LogPosition | None = None) -> None:
        self._call = self.stub.Stream()
        self.ended = asyncio.Event()
        self.error = None
        self.written_sequence = -1
        await self.send(attach=pb.Attach(session_id=self.session_id, log_from=log_from))
        self._reader = asyncio.create_task(self._read())

    async def begin(self, logdir: str = "run", tags: dict[int, str] | None = None, **more: Any):
        """Opens, attaches and defines one run."""
        await self.open()
        await self.attach()
        await self.send(definitions=definitions(logdir, tags, **more))
        return self

    async def send(self, **message: Any) -> None:
        await self._call.write(pb.ClientMessage(**message))

    async def records(self, *frames: bytes) -> None:
        await self.send(records=pb.Records(frames=b"".join(frames)))

    async def tensor(
        self,
        sequence: int,
        content: np.ndarray | bytes,
        chunk_bytes: int = 1 << 20,
        *,
        tensor: int = 0,
    ) -> None:
        """Sends a tensor of a record, as clients do: in chunks before its frame."""
        data = content if isinstance(content, bytes) else content.tobytes()
        for offset in range(0, len(data), chunk_bytes):
            chunk = data[offset : offset + chunk_bytes]
            await self.send(
                chunk=pb.TensorChunk(sequence=sequence, tensor=tensor, offset=offset, data=chunk)
            )

    async def half_close(self) -> None:
        await self._call.done_writing()

    async def cut(self) -> None:
        """Loses the stream, as a broken connection does."""
        self._call.cancel()
        await self.ended.wait()

    async def flush(
        self, sequence: int, timeout_secs: float = DEADLINE_SECS, level: int = pb.WRITTEN
    ) -> pb.FlushReply:
        return await self.stub.Flush(
            pb.FlushRequest(
                session_id=self.session_id,
                sequence=sequence,
                level=level,  # type: ignore[arg-type]
                timeout_secs=timeout_secs,
            )
        )

    async def close(self, timeout_secs: float = DEADLINE_SECS) -> pb.CloseReply:
        return await self.stub.Close(
            pb.CloseRequest(session_id=self.session_id, timeout_secs=timeout_secs)
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what was heard makes ``condition`` true."""

        async def wait() -> None:
            while not condition():
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(wait(), DEADLINE_SECS)

    async def acknowledged(self, sequence: int) -> None:
        await self.until(lambda: self.written_sequence >= sequence)

    async def end(self) -> grpc.StatusCode:
        """Waits for the end of the stream; returns its code."""
        await asyncio.wait_for(self.ended.wait(), DEADLINE_SECS)
        return grpc.StatusCode.OK if self.error is None else self.error.code()

    async def _read(self) -> None:
        try:
            async for message in self._call:
                kind = message.WhichOneof("message")
                if kind == "acknowledged":
                    assert message.acknowledged.written_sequence >= self.written_sequence
                    self.written_sequence = message.acknowledged.written_sequence
                elif kind == "rejected":
                    self.rejected.append(message.rejected)
                elif kind == "run_refused":
                    self.refused.append(message.run_refused)
                elif kind == "notice":
                    self.notices.append(message.notice.message)
                else:
                    self.draining = True
                self._news.set()
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.CancelledError:
            pass
        finally:
            self.ended.set()
            self._news.set()


class Harness:
    """A service on a Unix socket, and on TCP, in this process."""

    def __init__(
        self, service: Service, channel: grpc.aio.Channel, root: Path, socket: Path, tcp_port: int
    ) -> None:
        self.service = service
        self.channel = channel
        self.root = root
        self.socket = socket
        self.tcp_port = tcp_port

    def client(self, session_id: bytes | None = None) -> RawClient:
        return RawClient(self.channel, session_id)

    def status(self) -> pb.StatusReply:
        """The status, whose counts are checked to be balanced."""
        *_, status = self.service.status()
        for counters in (status.counters, *(session.counters for session in status.sessions)):
            rejected = sum(item.records for item in counters.rejected)
            assert counters.accepted == counters.written + rejected + counters.pending, status
        return status

    def files(self, run: str = "run") -> list[Path]:
        """The files of a run; none if it has no directory yet."""
        return sorted(path for path in (self.root / run).glob("*") if path.is_file())


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path,
    budgets: Budgets | None = None,
    *,
    handover_secs: float = DEADLINE_SECS,
    roots: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Harness]:
    """A running service; at its end nothing may be left of it.

    It writes beneath ``tmp_path / "logs"`` and ``roots``.
    """
    global _serving
    root = tmp_path / "logs"
    service = Service([root, *roots], budgets, **options)
    _serving += 1
    server = grpc.aio.server()
    add_service(service, server)
    with tempfile.TemporaryDirectory(prefix="bd-", dir="/tmp") as directory:
        # tmp_path may be too long for a socket's name.
        server.add_insecure_port(f"unix:{directory}/s")
        tcp_port = server.add_insecure_port("127.0.0.1:0")
        await service.start()
        service.take_maps(Path(f"{directory}/s{HANDOVER_SUFFIX}"), waiting_secs=handover_secs)
        await server.start()
        channel = grpc.aio.insecure_channel(f"unix:{directory}/s")
        try:
            harness = Harness(service, channel, root, Path(directory) / "s", tcp_port)
            yield harness
            harness.status()
        finally:
            await service.drain(5.0)
            await channel.close()
            await server.stop(None)
            _serving -= 1
            if not _serving:
                await _nothing_left()


#: Services in this process; the threads of one cannot be told from another's.
_serving = 0


async def _nothing_left() -> None:
    """Fails when a task or thread of the service outlives it."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECS
    while True:
        tasks = [
            task
            for task in asyncio.all_tasks()
            if f"{os.sep}boardd{os.sep}" in task.get_coro().cr_code.co_filename
        ]
        threads = [item for item in threading.enumerate() if item.name.startswith("boardd-")]
        if not tasks and not threads:
            return
        assert asyncio.get_running_loop().time() < deadline, f"left: {tasks} {threads}"
        await asyncio.sleep(0.01)
