"""What clients share: packets of the handover, and the log that a dead client has left."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import logging
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from boardd.core.budget import Budgets
from boardd.rpc.map_connection import MapConnection
from boardd.runs.directories.logdir import Roots
from boardd.sessions.adoption import Adoption
from boardd.sessions.sessions import Sessions
from boardd_protos.log_directory import log_directories, make_log_directory
from boardd_protos.log_file import FREED_OFFSET, LOG_HEADER_BYTES, LogHeader
from boardd_protos.shared import F_ADD_SEALS, F_SEAL_FUTURE_WRITE, SEALS, HandoverReply
from support.waiting import wait_until

from fuzz.scratch import scratch
from fuzz.script import Script
from fuzz.targets.messages import SESSION_ID

DEADLINE_SECS: Final = 8.0
#: Of a map that a script shares, and of a log's ring and definitions.
MAP_BYTES: Final = 4096
RING_BYTES: Final = 2048
DEFINITIONS_BYTES: Final = 2048
#: Of a log's header: what changes while its client lives.
WORDS_BYTES: Final = 48
_BUDGETS: Final = Budgets(max_map_bytes=4 * MAP_BYTES, max_sessions=3)
_MAX_PACKETS: Final = 32


def handover(data: bytes) -> None:
    """Packets on connections to the handover socket, with descriptors of all kinds."""
    _run(_handover(Script(data)))


def log(data: bytes) -> None:
    """The log of a client that died is found, and what it holds is written."""
    _run(_adopt(Script(data)))


async def _handover(script: Script) -> None:
    with _directory() as top, _no_defects():
        before = _descriptors()
        sessions = Sessions(Roots([top]), _BUDGETS, time.monotonic, 1.0)
        ends: list[socket.socket] = []
        connections: list[MapConnection] = []
        try:
            for _ in range(_MAX_PACKETS):
                if not script:
                    break
                choice = script.number()
                if not ends or choice & 0x80:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    for end in (ours, theirs):
                        end.setblocking(False)
                    ends.append(ours)
                    connections.append(
                        MapConnection(_Listener(), sessions, theirs, None, DEADLINE_SECS)
                    )
                at = choice % len(ends)
                _send(ends[at], script)
                connections[at].receive()
                _hear(ends[at])
                if choice & 0x40:
                    ends[at].close()
                    connections[at].receive()
                    await asyncio.sleep(0)
                    del ends[at], connections[at]
                assert sessions.registry.budgets.max_map_bytes >= _mapped_bytes(sessions)
        finally:
            for end, connection in zip(ends, connections, strict=True):
                end.close()
                connection.close()
            await sessions.close()
        del connections, sessions
        if _descriptors() > before:
            gc.collect()
        # A thread closes some of them.
        wait_until(lambda: _descriptors() <= before, "every descriptor is closed")


class _Listener:
    """Where connections come from; it does not count them."""

    def arrived(self, map_connection: MapConnection) -> None:
        """See ``Listener``."""

    def left(self, map_connection: MapConnection) -> None:
        """See ``Listener``."""


def _mapped_bytes(sessions: Sessions) -> int:
    return sum(live.maps.size_bytes for live in sessions.registry)


def _send(end: socket.socket, script: Script) -> None:
    kinds = [script.number() for _ in range(script.number() % 4)]
    content = script.part()
    descriptors = [_made(kind, script) for kind in kinds]
    try:
        with contextlib.suppress(OSError):
            socket.send_fds(end, [content], descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _made(kind: int, script: Script) -> int:
    """A descriptor: of a sealed map, of a log, and of what is neither."""
    if kind % 8 == 0:
        return os.open("/dev/null", os.O_RDONLY)
    if kind % 8 == 1:
        return os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    if kind % 8 == 2:
        return os.eventfd(0)
    fd = os.memfd_create("boardd-fuzz", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if kind % 8 == 3:
        os.pwrite(fd, _log(script, Path("/nowhere")), 0)
        return fd
    os.posix_fallocate(fd, 0, MAP_BYTES)
    seals = SEALS | F_SEAL_FUTURE_WRITE if kind % 8 != 4 else script.number() & 0x1F
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


def _hear(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while answer := end.recv(2048):
            HandoverReply.decode(answer)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _adopt(script: Script) -> None:
    with _directory() as top, _no_defects():
        directory = log_directories(top / "boardd" / "s")[0]
        make_log_directory(directory)
        path = directory / SESSION_ID.hex()
        path.write_bytes(_log(script, path))
        sessions = Sessions(Roots([top / "logs"]), Budgets(), time.monotonic, 0.01)
        try:
            await Adoption(sessions, [directory]).look()
            deadline = time.monotonic() + DEADLINE_SECS
            while len(sessions.registry) and time.monotonic() < deadline:
                await asyncio.sleep(0.001)
            assert not len(sessions.registry), "a dead client's session does not end"
            counters = sessions.registry.counters()
            assert counters.balanced, counters
            assert not counters.pending, counters
        finally:
            await sessions.close()
            shutil.rmtree(directory)


def _log(script: Script, path: Path) -> bytes:
    """A log whose header is whole but for the fields that the script changes."""
    header = bytearray(
        LogHeader(
            SESSION_ID,
            4711,
            LOG_HEADER_BYTES,
            RING_BYTES,
            LOG_HEADER_BYTES + RING_BYTES,
            DEFINITIONS_BYTES,
            "host",
            "program",
            "unix:/socket",
            str(path),
        ).encode()
    )
    header[FREED_OFFSET : FREED_OFFSET + WORDS_BYTES] = script.bytes(WORDS_BYTES).ljust(
        WORDS_BYTES, b"\0"
    )
    for _ in range(script.number() % 4):
        struct.pack_into("<Q", header, 8 * (script.number() % 16), script.number(8))
    ring, definitions, parked = (script.part() for _ in range(3))
    return (
        bytes(header)
        + ring[:RING_BYTES].ljust(RING_BYTES, b"\0")
        + definitions[:DEFINITIONS_BYTES].ljust(DEFINITIONS_BYTES, b"\0")
        + parked[:RING_BYTES].ljust(RING_BYTES, b"\0")
    )


def _run(steps: Coroutine[Any, Any, None]) -> None:
    _loop().run_until_complete(steps)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@contextlib.contextmanager
def _no_defects() -> Iterator[None]:
    """Fails if something was logged that was not expected."""
    found = _Defects()
    logger = logging.getLogger("boardd")
    logger.addHandler(found)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(found)
    assert not found.texts, found.texts[0]


class _Defects(logging.Handler):
    """Keeps what is logged of errors that have no type."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        text = record.getMessage()
        if record.exc_info or "Traceback" in text or "never retrieved" in text:
            self.texts.append(self.format(record))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=scratch()))
    try:
        yield path
    finally:
        shutil.rmtree(path)
