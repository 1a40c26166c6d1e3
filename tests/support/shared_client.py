"""A client that shares its memory and speaks the handover by hand."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FLAGS_OFFSET, HEADER, PADDING
from boardd_protos.local_socket import HANDOVER_SUFFIX
from boardd_protos.log_file import (
    ACKNOWLEDGED_OFFSET,
    DEFINITIONS_USED_OFFSET,
    FREED_OFFSET,
    LOG_HEADER_BYTES,
    LogHeader,
    encode_entry,
)
from boardd_protos.shared import (
    F_ADD_SEALS,
    F_SEAL_FUTURE_WRITE,
    REPLY_BYTES_MAX,
    SEALS,
    SHARE,
    Commit,
    Handover,
    HandoverReply,
)

from support.raw_client import DEADLINE_SECS, RawClient, definitions

LOG_BYTES = 1 << 16
ARENA_BYTES = 1 << 20
DEFINITIONS_BYTES = 1 << 20
ALL_SEALS = SEALS | F_SEAL_FUTURE_WRITE
#: A session of these clients begins behind this record, which a daemon before has written.
FIRST = 1
#: The memory of these clients in /proc/self/maps, and not that of others.
MEMORY_NAME = "boardd-raw-client"


def memory(size_bytes: int, *, seals: int = ALL_SEALS, data: bytes = b"") -> int:
    """The descriptor of a sealed memfd that begins with ``data``."""
    fd = os.memfd_create(MEMORY_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.posix_fallocate(fd, 0, size_bytes)
    os.pwrite(fd, data, 0)
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


def log_of(
    session_id: bytes, log_bytes: int = LOG_BYTES, path: str = "", *, definitions_at: int = 0
) -> bytes:
    """The beginning of a log, and zeros in its ring and definitions."""
    header = LogHeader(
        session_id,
        4711,
        LOG_HEADER_BYTES,
        log_bytes,
        definitions_at or LOG_HEADER_BYTES + log_bytes,
        DEFINITIONS_BYTES,
        "host",
        "test",
        "unix:/socket",
        path,
    )
    return header.encode().ljust(header.size_bytes, b"\0")


def log_file(data: bytes) -> int:
    """The descriptor of a log without a name."""
    fd = os.memfd_create("boardd-raw-log", os.MFD_CLOEXEC)
    os.pwrite(fd, data, 0)
    return fd


def is_mapped() -> bool:
    """Whether this process maps memory of such a client."""
    return f"memfd:{MEMORY_NAME}" in Path("/proc/self/maps").read_text()


def slotted_histogram(
    values: np.ndarray, offset: int, *, number: int = 0, bins: int = 10, **slot: int
) -> pb.Payload:
    """The payload of a histogram whose values lie in a map; ``slot`` overrides fields."""
    where = {"map": number, "offset": offset, "size_bytes": values.nbytes, **slot}
    return pb.Payload(
        tensors=[pb.Tensor(dtype=values.dtype.name, shape=values.shape)],
        slots=[pb.Slot(**where)],
        histogram=pb.Histogram(count=bins),
    )


def each(*frames: bytes) -> Iterator[bytes]:
    """The frames one by one, also those that lie back to back."""
    for some in frames:
        at = 0
        while at < len(some):
            size_bytes = HEADER.unpack_from(some, at)[0]
            yield some[at : at + size_bytes]
            at += size_bytes


class FrameWriter:
    """Writes frames into a ring as they are given, gaps and broken ones included.

    The client's own ``Ring`` writes only what it has numbered itself. ``position`` is
    where the next frame goes.
    """

    def __init__(self, view: memoryview, sequence: int = 0, position: int = 0) -> None:
        self._view = view
        self.sequence = sequence
        self.position = position

    def append(self, *frames: bytes) -> None:
        """Writes frames, and padding before one that does not fit before the end."""
        for frame in each(*frames):
            to_end = len(self._view) - self.position % len(self._view)
            if to_end < len(frame):
                self.fill(to_end)
            self.put(frame)
            self.position += len(frame)
            self.sequence = HEADER.unpack_from(frame)[4]

    def put(self, data: bytes) -> None:
        """Writes bytes where the next frame goes, which still goes there."""
        offset = self.position % len(self._view)
        self._view[offset : offset + len(data)] = data

    def fill(self, size_bytes: int) -> None:
        """Writes padding."""
        self.put(struct.pack("<Q", size_bytes | PADDING << 8 * FLAGS_OFFSET))
        self.position += size_bytes


class SharedClient(RawClient):
    """One session with a log, and an arena in map 0. ``socket_path`` is that of the daemon.

    Its first record is behind ``FIRST``.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        socket_path: Path,
        session_id: bytes | None = None,
        *,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        super().__init__(channel, session_id)
        self._maps_path = f"{socket_path}{HANDOVER_SUFFIX}"
        self.log_bytes = log_bytes
        self.size_bytes = ARENA_BYTES
        self.fd = memory(self.size_bytes, seals=0)
        self.view = memoryview(mmap.mmap(self.fd, self.size_bytes))
        fcntl.fcntl(self.fd, F_ADD_SEALS, ALL_SEALS)
        log = log_of(self.session_id, log_bytes)
        self.log_fd = log_file(log)
        self.log_view = memoryview(mmap.mmap(self.log_fd, len(log)))
        self.ring = FrameWriter(
            self.log_view[LOG_HEADER_BYTES : LOG_HEADER_BYTES + log_bytes], FIRST
        )
        self.freed(FIRST, 0)
        self._kept_bytes = 0
        self.map_connection: socket.socket | None = None

    async def open(self, acknowledged_sequence: int = FIRST, **more: Any) -> pb.OpenReply:
        return await super().open(acknowledged_sequence, **more)

    def freed(self, sequence: int, tail: int) -> None:
        """Tells who reads the log that frames up to ``sequence`` are done and gone."""
        struct.pack_into("<Q", self.log_view, ACKNOWLEDGED_OFFSET, sequence)
        struct.pack_into("<QQ", self.log_view, FREED_OFFSET, sequence, tail)

    def keep(self, message: pb.Definitions | bytes) -> None:
        """Adds definitions to the log, or an entry that is none."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        entry = encode_entry(data)
        start = LOG_HEADER_BYTES + self.log_bytes + self._kept_bytes
        self.log_view[start : start + len(entry)] = entry
        self._kept_bytes += len(entry)
        struct.pack_into("<Q", self.log_view, DEFINITIONS_USED_OFFSET, self._kept_bytes)

    async def define(self, message: pb.Definitions) -> None:
        """Adds definitions to the log, and tells the daemon of them."""
        self.keep(message)
        await self.send(definitions=message)

    async def hand_over(self) -> str:
        """Shares map 0 over a new connection; returns the refusal, empty if there is none."""
        self.let_go()
        self.map_connection = await self.connect()
        first = Handover(self.session_id, SHARE, 0, self.size_bytes)
        return await self.exchange(self.map_connection, first.encode(), [self.fd, self.log_fd])

    async def connect(self) -> socket.socket:
        """A connection to the socket of the handover."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, self._maps_path)
        return peer

    async def exchange(self, peer: socket.socket, data: bytes, fds: Iterable[int] = ()) -> str:
        """Sends one message and returns the refusal that answers it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(peer, [data], list(fds))
        return await self.reply(peer)

    async def reply(self, peer: socket.socket) -> str:
        """What the daemon answers next; fails at the connection's end."""
        receiving = asyncio.get_running_loop().sock_recv(peer, REPLY_BYTES_MAX)
        return HandoverReply.decode(await asyncio.wait_for(receiving, DEADLINE_SECS)).refusal

    def share(self, number: int, values: np.ndarray) -> None:
        """Shares a map that holds ``values``; waits for no answer."""
        fd = memory(values.nbytes, data=values.tobytes())
        self.tell(Handover(self.session_id, SHARE, number, values.nbytes), fd)
        os.close(fd)

    def tell(self, handover: Handover, *fds: int) -> None:
        """Sends a message and waits for no answer."""
        assert self.map_connection is not None
        socket.send_fds(self.map_connection, [handover.encode()], list(fds))

    async def begin(self, logdir: str = "run", tags: dict[int, str] | None = None, **more: Any):
        """Opens, hands over, attaches and defines one run."""
        await self.open()
        assert await self.hand_over() == ""
        await self.attach(self.here())
        await self.define(definitions(logdir, tags, **more))
        return self

    def here(self) -> pb.LogPosition:
        """Where the ring ends now."""
        return pb.LogPosition(sequence=self.ring.sequence, position=self.ring.position)

    async def commit(self) -> None:
        """Commits all that was appended."""
        await self.send(committed=self.here())

    def commit_beside(self, where: pb.LogPosition | None = None) -> None:
        """Commits all that was appended, or up to ``where``, over the map connection."""
        where = where or self.here()
        assert self.map_connection is not None
        self.map_connection.send(Commit(where.sequence, where.position).encode())

    async def log(self, *frames: bytes) -> None:
        """Appends and commits, waiting for acknowledgements when the ring is full."""
        half = self.log_bytes // 2
        taken = 0
        for frame in each(*frames):
            taken += len(frame)
            if taken >= half:
                await self.commit()
                await self.acknowledged(self.ring.sequence)
                taken = len(frame)
            self.ring.append(frame)
        await self.commit()

    def place(self, values: np.ndarray, at: int = 0) -> int:
        """Puts values into the arena; returns their offset in map 0."""
        self.view[at : at + values.nbytes] = values.tobytes()
        return at

    def let_go(self) -> None:
        """Ends the connection, as the end of the process does."""
        if self.map_connection is not None:
            self.map_connection.close()
            self.map_connection = None

    async def die(self) -> None:
        """Ends stream and connection, and frees the memory, as the end of the process does."""
        self.free()
        await self.cut()

    def free(self) -> None:
        """Closes all that is this client's but its stream. Idempotent."""
        self.let_go()
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self.log_fd)
            self.fd = self.log_fd = -1
            del self.ring
            self.view.release()
            self.log_view.release()


@contextlib.contextmanager
def freed(client: SharedClient) -> Iterator[SharedClient]:
    """Frees the client's memory in the end."""
    try:
        yield client
    finally:
        client.free()
