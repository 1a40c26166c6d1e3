"""A path at which clients look for a socket, which the daemon takes and gives back.

A socket is bound beside the path and renamed into place. If somebody listens at the path
already, although the lock of the socket is this process's, that is a service manager, which
starts a daemon for whoever connects. Its socket gets a second name and its place back at the
end. gRPC cannot listen on a descriptor that it is passed, so its socket replaces the service
manager's for as long as the daemon serves.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from boardd_protos.local_socket import accepts_connections

#: Behind the name of a service manager's socket while a daemon's is in its place.
ACTIVATION_SUFFIX: Final = ".activation"


class SocketPlace:
    """One path for a Unix socket; used by the process that holds the lock of it."""

    def __init__(self, path: Path, kind: socket.SocketKind) -> None:
        self.path = path  #: where clients look
        self._kind = kind
        self._published: os.stat_result | None = None
        self._is_taken_over = False  #: from a service manager

    @property
    def bind_path(self) -> Path:
        """Where to bind: a name beside that no client looks for."""
        return self.path.with_name(f".{self.path.name}")

    @property
    def _activation_path(self) -> Path:
        return self.bind_path.with_name(self.bind_path.name + ACTIVATION_SUFFIX)

    def publish(self) -> None:
        """Puts the socket that is bound into its place, which is never empty meanwhile.

        Raises ``FileNotFoundError`` if none is bound.
        """
        published = os.lstat(self.bind_path)
        # A process that was killed may have left the service manager's under its other name.
        self._is_taken_over = _listens(self._activation_path, self._kind)
        if _listens(self.path, self._kind):
            _remove(self._activation_path)
            # Without hard links it is lost to the service manager, and clients start daemons.
            with contextlib.suppress(OSError):
                os.link(self.path, self._activation_path, follow_symlinks=False)
                self._is_taken_over = True
        os.rename(self.bind_path, self.path)
        self._published = published

    def clear(self) -> None:
        """Removes what a process that is dead has left at the path."""
        _remove(self.path)

    def give_back(self) -> None:
        """Removes the socket, bound or published; a service manager's gets its place back.

        What another process has put into the place since is left there. A socket that cannot
        be removed stays: nobody serves it, and the next daemon replaces it.
        """
        _remove(self.bind_path)
        if self._published is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.lstat(self.path), self._published):
                # Nobody connects to find out whether it is alive: that would start a daemon.
                if self._is_taken_over:
                    os.rename(self._activation_path, self.path)
                else:
                    os.unlink(self.path)
        self._published = None
        _remove(self._activation_path)


def _listens(path: Path, kind: socket.SocketKind) -> bool:
    try:
        return accepts_connections(path, kind)
    except PermissionError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
