"""Who owns a daemon's Unix socket: what its lock file says, as long as its lock is held.

A daemon locks ``/path/boardd.sock.lock`` (``flock``) before it starts, and removes the file as it
leaves. The file is JSON, so that a client knows without asking, also of a daemon that is stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

LOCK_SUFFIX: Final = ".lock"

#: More than what any daemon writes.
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class SocketOwner:
    """What a daemon says of itself; what is not known is left at its default."""

    pid: int = 0  #: as it is in its own namespace
    is_autostarted: bool = False  #: a client has started it, and it makes room for another
    roots: tuple[str, ...] = ()  #: absolute directories beneath which it writes
    left_alone: tuple[str, ...] = ()  #: those among them in which it does not, but for roots there
    revision: int = 0  #: as ``OpenReply`` says it, for what is logged before that
    #: URLs beneath which it writes, ``remote_logdir.ANY`` for all; None: it knows no URLs.
    remote_roots: tuple[str, ...] | None = None
    remote_obstacle: str = ""  #: why it can write to no URL at all, and what to do

    def encode(self) -> bytes:
        """The content of the lock file."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> SocketOwner:
        """What ``content`` says; of any other content, nothing.

        0.1.0 writes the pid and nothing else.
        """
        try:
            found = json.loads(content)
            if type(found) is int and found > 0:
                return cls(found)
            pid, is_autostarted = int(found["pid"]), bool(found["is_autostarted"])
            roots, left_alone = found["roots"], found.get("left_alone", [])
            revision = int(found.get("revision", 0))
            urls, obstacle = found.get("remote_roots"), str(found.get("remote_obstacle", ""))
            remote_roots = None if urls is None else tuple(map(str, urls))
            return cls(
                *(pid, is_autostarted, _paths(roots), _paths(left_alone), revision),
                *(remote_roots, obstacle),
            )
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return cls()


def _paths(found: object) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise TypeError(f"{found!r} is no list")
    for path in found:
        if not isinstance(path, str) or not os.path.isabs(path):
            raise ValueError(f"{path!r} is no absolute path")
    return tuple(found)


def lock_path(socket_path: Path) -> Path:
    """The file that is locked by the owner of ``socket_path``."""
    return socket_path.with_name(socket_path.name + LOCK_SUFFIX)


def socket_owner(socket_path: Path) -> SocketOwner | None:
    """Who serves ``socket_path``, starts there or leaves; None if nobody does. Does not wait."""
    with contextlib.suppress(OSError), _opened(lock_path(socket_path)) as lock:
        try:
            # Shared: beside others that only look.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return SocketOwner.decode(os.pread(lock, _MAX_BYTES, 0))
    return None


def lock_holder(socket_path: Path) -> int | None:
    """The pid of the process that owns ``socket_path``; None if it cannot be seen from here.

    That of a daemon in another pid namespace means another process here, or none.
    """
    owner = socket_owner(socket_path)
    if owner is None or not owner.pid:
        return None
    with contextlib.suppress(OSError):
        lock = os.stat(lock_path(socket_path))
        with os.scandir(f"/proc/{owner.pid}/fd") as descriptors:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(descriptor.path), lock):
                        return owner.pid
    return None


def has_remains(socket_path: Path) -> bool:
    """Whether a daemon owns ``socket_path`` or was killed there, and may be restarted."""
    return any(map(os.path.lexists, (socket_path, lock_path(socket_path))))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Whatever lies there is not to hold its reader up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
