"""A client that breaks the protocol; each method is one step, possible in any state."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import HEADER_BYTES
from boardd_protos.log_file import DEFINITIONS_USED_OFFSET, FREED_OFFSET
from boardd_protos.shared import RELEASE, SHARE, Handover, HandoverError
from support.raw_client import DEADLINE_SECS, definitions, histogram_payload, scalars, summary
from support.shared_client import FIRST, SharedClient, memory

#: How a call or a stream may end. INTERNAL and UNKNOWN are defects of the daemon.
TYPED: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
)
#: What this end's gRPC says of a message that it was sending when the stream ended.
_CUT_SHORT: Final = "Internal error from Core"
#: Longer than a message may be.
_OVERSIZE_BYTES: Final = 5 << 20
_MOST: Final = (1 << 64) - 1


class Breaker:
    """One session; ``socket`` is the daemon's. Its records go to ``logdir``."""

    def __init__(self, channel: grpc.aio.Channel, socket: Path, logdir: str) -> None:
        self._channel, self._socket, self._logdir = channel, socket, logdir
        self._client = SharedClient(channel, socket)
        self._has_stream = self._sends = False
        self._sequence = FIRST + 1

    @property
    def is_lost(self) -> bool:
        """Whether no stream of it is left."""
        return not self._has_stream or self._client.ended.is_set()

    # What a client does

    async def begin(self, *, shares: bool) -> None:
        """Begins anew, as a client does that breaks nothing."""
        await self.leave()
        self._client, self._sequence = SharedClient(self._channel, self._socket), FIRST + 1
        await self._client.open()
        if shares:
            assert await self._client.hand_over() == ""
        await self._client.attach(self._client.here() if shares else None)
        self._has_stream = self._sends = True
        await self.define({1: "loss"}, 1, "")

    async def open(self, acknowledged: int) -> None:
        """Opens the session, again perhaps, and tells of records that nobody had."""
        async with _typed():
            await self._client.open(acknowledged)

    async def attach(self, *, shares: bool, position: int) -> None:
        """Attaches a stream, beside another one perhaps, or to a ring that is not there."""
        where = pb.LogPosition(sequence=self._sequence - 1, position=position)
        async with _typed():
            await self._client.attach(where if shares else None)
            self._has_stream = self._sends = True

    async def hand_over(self, size_bytes: int, session_id: bytes, count: int) -> None:
        """Sends a packet that shares map 0, of a size, a session and descriptors that may lie."""
        async with _typed():
            self._client.let_go()
            self._client.map_connection = await self._client.connect()
            packet = Handover(session_id or self._client.session_id, SHARE, 0, size_bytes)
            fds = [self._client.fd, self._client.log_fd, self._client.fd][:count]
            await self._client.exchange(self._client.map_connection, packet.encode(), fds)

    async def packet(self, data: bytes) -> None:
        """Sends what is no packet over the map connection."""
        self._beside(data)

    async def share_map(self, number: int, size_bytes: int, claimed_bytes: int) -> None:
        """Shares another map, whose size may be a lie."""
        fd = memory(size_bytes)
        try:
            packet = Handover(self._client.session_id, SHARE, number, claimed_bytes)
            if self._client.map_connection is not None:
                with contextlib.suppress(OSError, AssertionError):
                    self._client.tell(packet, fd)
        finally:
            os.close(fd)

    async def release_map(self, number: int) -> None:
        """Releases a map, one that it never shared perhaps."""
        self._beside(Handover(self._client.session_id, RELEASE, number).encode())

    async def define(self, tags: dict[int, str], run: int, logdir: str, **more: object) -> None:
        """Defines runs and series, anew and with another meaning perhaps."""
        message = definitions(logdir or self._logdir, tags, run=run, **more)
        with contextlib.suppress(ValueError, IndexError):
            self._client.keep(message)
        await self._send(definitions=message)

    async def log(self, count: int, skip: int, series: int) -> None:
        """Sends scalars; of a gap or of what was sent before, if ``skip`` is not 0."""
        first = max(0, self._sequence + skip)
        await self._send(records=pb.Records(frames=scalars(first, count, series)))
        self._sequence = first + count

    async def log_sparse(self, count: int, settled: int) -> None:
        """Says that records are done that never came."""
        frames = scalars(self._sequence, count)
        self._sequence += count
        await self._send(records=pb.Records(frames=frames, sparse=True, settled_sequence=settled))

    async def log_bytes(self, data: bytes) -> None:
        """Sends what are no frames."""
        await self._send(records=pb.Records(frames=data))

    async def log_oversize(self) -> None:
        """Sends a message that is longer than the daemon takes."""
        await self._send(records=pb.Records(frames=bytes(_OVERSIZE_BYTES)))

    async def log_tensor(self, offset: int, size_bytes: int, tensor: int, ahead: int) -> None:
        """Sends a chunk that overlaps others or is of no record, and its record perhaps."""
        sequence = max(0, self._sequence + ahead)
        chunk = pb.TensorChunk(
            sequence=sequence, tensor=tensor, offset=offset, data=bytes(size_bytes)
        )
        await self._send(chunk=chunk)
        if ahead == 0:
            frame = summary(sequence, histogram_payload(np.zeros(max(1, size_bytes // 8))))
            await self._send(records=pb.Records(frames=frame))
            self._sequence += 1

    async def report(self, records: int, step: int) -> None:
        """Tells of drops that cannot be."""
        drop = pb.DropCount(reason="lie", records=records, size_bytes=_MOST, run=1, step=step)
        await self._send(report=pb.ClientReport(dropped=[drop]))

    async def hear(self, count: int) -> None:
        """Says that it has heard what was never said."""
        await self._send(heard_rejections=count)

    # Its ring

    async def append(self, count: int, series: int) -> None:
        """Writes frames into the ring."""
        with contextlib.suppress(AttributeError):
            self._client.ring.append(scalars(self._client.ring.sequence + 1, count, series))

    async def scribble(self, offset: int, data: bytes) -> None:
        """Writes anywhere into the log, its header included."""
        with contextlib.suppress(AttributeError, ValueError):
            self._client.log_view[offset : offset + len(data)] = data

    async def set_words(self, freed: int, tail: int, used: int) -> None:
        """Lies about what is freed and defined."""
        with contextlib.suppress(AttributeError, ValueError):
            struct.pack_into("<QQ", self._client.log_view, FREED_OFFSET, freed, tail)
            struct.pack_into("<Q", self._client.log_view, DEFINITIONS_USED_OFFSET, used)

    async def commit(self, records: int, frames: int, *, beside: bool) -> None:
        """Commits up to a place behind, or before, that of the last frame."""
        ring = self._client.ring
        where = pb.LogPosition(
            sequence=max(0, ring.sequence + records),
            position=max(0, ring.position + frames * HEADER_BYTES // 2),
        )
        if not beside:
            await self._send(committed=where)
        elif self._client.map_connection is not None:
            with contextlib.suppress(OSError):
                self._client.commit_beside(where)

    async def cut_log(self, size_bytes: int) -> None:
        """Cuts its log off."""
        # What is mapped of it here is not touched any more.
        os.ftruncate(self._client.log_fd, size_bytes)
        os.ftruncate(self._client.log_fd, len(self._client.log_view))

    # Its ends

    async def flush(self, sequence: int, timeout_secs: float, level: int) -> None:
        """Asks for what never came, for a time that cannot be."""
        async with _typed():
            await self._client.stub.Flush(
                pb.FlushRequest(
                    session_id=self._client.session_id,
                    sequence=sequence,
                    level=level,  # type: ignore[arg-type]
                    timeout_secs=timeout_secs,
                ),
                timeout=0.2,
            )

    async def close(self) -> None:
        """Closes the session, and goes on perhaps."""
        async with _typed():
            await self._client.close(timeout_secs=0.1)

    async def half_close(self) -> None:
        """Sends no more, and stays."""
        if self._sends:
            self._sends = False
            async with _typed():
                await self._client.half_close()

    async def cut(self) -> None:
        """Loses the stream."""
        if self._has_stream:
            self._has_stream = self._sends = False
            async with _typed():
                await self._client.cut()

    async def hang_up(self) -> None:
        """Loses the map connection."""
        self._client.let_go()

    async def leave(self) -> None:
        """Loses everything, as a process that ends; fails if a stream ended by a defect."""
        await self.cut()
        self._client.free()
        error = self._client.error
        assert error is None or _is_typed(error), error

    async def _send(self, **message: object) -> None:
        if not self._sends:
            return
        async with _typed():
            # gRPC lets a large message wait for ever if the daemon ends the stream meanwhile.
            sending = asyncio.ensure_future(self._client.send(**message))
            ended = asyncio.ensure_future(self._client.ended.wait())
            done, waiting = await asyncio.wait(
                {sending, ended}, timeout=DEADLINE_SECS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in waiting:
                task.cancel()
            assert done, f"the daemon took no message for {DEADLINE_SECS} s"
            if sending in done:
                sending.result()

    def _beside(self, data: bytes) -> None:
        if self._client.map_connection is not None:
            with contextlib.suppress(OSError):
                self._client.map_connection.send(data)


def _is_typed(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in TYPED or error.details() == _CUT_SHORT


@contextlib.asynccontextmanager
async def _typed() -> AsyncIterator[None]:
    """Lets errors pass that say what the client did wrong."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if not _is_typed(error):
            raise
    except (asyncio.InvalidStateError, OSError, grpc.aio.UsageError, HandoverError):
        return  # the call or the connection has ended
