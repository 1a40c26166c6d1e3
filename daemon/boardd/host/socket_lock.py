"""Sole ownership of a Unix socket: a private directory and a lock beside the socket.

A second gRPC server silently takes over a socket path, so a daemon locks
``<socket>.lock`` first and touches the socket only while it holds that lock.
The lock is ``flock``'s, hence gone with the process however it ends; the file
says who the owner is, see ``boardd_protos.socket_owner``.

A daemon that a client has started makes room for one that somebody else starts and tells
where to write: after a crash of an installed service, clients start one before the
service is back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from boardd_protos import local_socket
from boardd_protos.local_socket import (
    HANDOVER_SUFFIX,
    DirectoryRefusedError,
    accepts_connections,
)
from boardd_protos.socket_owner import SocketOwner, lock_path, socket_owner

from boardd.errors import AddressTakenError, CommandError, ConfigError
from boardd.host.socket_place import SocketPlace

#: How long to wait for a lock whose holder serves nothing: it is starting or leaving.
HANDOVER_SECS = 10.0

_POLL_SECS = 0.02


def ensure_private_directory(path: Path) -> None:
    """Makes sure that only this user can reach into ``path``, created if it is missing.

    Raises ``ConfigError`` when that cannot be, see ``local_socket``.
    """
    try:
        local_socket.ensure_private_directory(path)
    except DirectoryRefusedError as error:
        raise ConfigError(f"{error}; choose another --socket") from None


def _named(holder: SocketOwner) -> str:
    return f"another boardd (pid {holder.pid})" if holder.pid else "another boardd"


class SocketLock:
    """The right to bind, replace and remove one socket path.

    Held from construction until ``release`` or the end of the process.
    """

    def __init__(
        self,
        socket_path: Path,
        owner: SocketOwner | None = None,
        *,
        handover_secs: float = HANDOVER_SECS,
        end_daemon: Callable[[Path], None] | None = None,
    ) -> None:
        """Takes the lock of ``socket_path`` for ``owner``; None: this process, and no more is said.

        Waits up to ``handover_secs`` for a holder that serves nothing. One that a client has
        started is ended with ``end_daemon``, if that is given and ``owner`` is no such one.
        Raises ``AddressTakenError``, naming the holder's pid, when another process keeps the
        lock, ``CommandError`` when one that is to make room does neither serve nor leave,
        ``ConfigError`` when there can be no lock file, and what ``end_daemon`` does.
        """
        owner = owner or SocketOwner(os.getpid())
        self.path = lock_path(socket_path)
        self._socket_path = socket_path
        self._place = SocketPlace(socket_path, socket.SOCK_STREAM)
        maps_path = socket_path.with_name(socket_path.name + HANDOVER_SUFFIX)
        self._maps_place = SocketPlace(maps_path, socket.SOCK_SEQPACKET)
        deadline = time.monotonic() + handover_secs
        while (descriptor := self._try_lock()) is None:
            is_served = self._is_served()
            if not is_served and time.monotonic() < deadline:
                time.sleep(_POLL_SECS)
                continue
            holder = socket_owner(socket_path) or SocketOwner()
            if not holder.is_autostarted or owner.is_autostarted:
                raise self._taken(holder)
            if end_daemon is None:
                raise self._taken(holder, ", take its place with --logdir-root")
            if not is_served:
                raise CommandError(
                    f"{_named(holder)}, which a client has started at {socket_path}, does "
                    "neither serve nor leave; try again later, or end it"
                )
            try:
                end_daemon(socket_path)
            except CommandError:
                if self._is_served():  # else it has left by itself
                    raise
            deadline = time.monotonic() + handover_secs
        self._descriptor: int | None = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)

    def _try_lock(self) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot open the lock file {self.path}: {error.strerror}") from None
        locked = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder removes the file as it leaves: only the file still in place counts.
            locked = os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if not locked:
                os.close(descriptor)
        return descriptor if locked else None

    def _is_served(self) -> bool:
        try:
            return accepts_connections(self._socket_path)
        except PermissionError:  # its holder has yet to open it to this user, or never will
            return False

    def _taken(self, holder: SocketOwner, cure: str = "") -> AddressTakenError:
        path = self._socket_path
        return AddressTakenError(
            f"{_named(holder)} has {path}; use it, stop it with "
            f"'boardd stop --socket {shlex.quote(os.fspath(path))}'{cure}, or choose another "
            "--socket"
        )

    @property
    def bind_path(self) -> Path:
        """Where to bind: a name beside the socket's that no client looks for."""
        return self._place.bind_path

    @property
    def maps_bind_path(self) -> Path:
        """The same for the socket on which clients hand over their memory."""
        return self._maps_place.bind_path

    @property
    def maps_path(self) -> Path:
        """Where clients look for that one."""
        return self._maps_place.path

    def publish(self, *, are_maps_passed: bool = False) -> None:
        """Puts the sockets that are bound in place of any stale ones.

        The socket at ``bind_path`` must be there; without one at ``maps_bind_path``,
        a stale one is removed. ``are_maps_passed``: a service manager has put that one in place.
        """
        # First, for a client that finds the other one looks for this.
        if not are_maps_passed:
            try:
                self._maps_place.publish()
            except FileNotFoundError:
                self._maps_place.clear()
        self._place.publish()

    def remove_socket(self) -> None:
        """Removes the sockets, bound or published; nothing happens where there is none.

        A service manager's, whose place they took, are put back.
        """
        self._place.give_back()
        self._maps_place.give_back()

    def release(self) -> None:
        """Removes the lock file and gives up the lock. Idempotent."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> SocketLock:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove_socket()
        self.release()
