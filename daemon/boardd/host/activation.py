"""Sockets that a service manager listens on until a daemon is there (``sd_listen_fds(3)``).

They are told apart by their addresses, whatever names they have. That of clients' memory is
served as it is. gRPC cannot listen on a descriptor that it is passed, so its own socket takes
the place of the other one (``socket_place``): connections that came before are closed, and
their clients connect again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from boardd.errors import ConfigError

#: The first descriptor that is passed.
_FIRST: Final = 3
#: Connections that are closed at a time.
_MAX_ACCEPTED: Final = 64


class Activation:
    """The sockets that were passed, each listening; None where there is none."""

    def __init__(
        self, calls: socket.socket | None = None, maps: socket.socket | None = None
    ) -> None:
        self.calls = calls  #: that of gRPC
        self.maps = maps  #: that on which clients hand over their memory; ``take_maps`` has it
        self._is_turning_away = False

    @classmethod
    def take(
        cls, environ: MutableMapping[str, str], calls_path: Path, maps_path: Path
    ) -> Activation:
        """Takes the sockets that ``environ`` speaks of, and what it says of them out of it.

        Raises ``ConfigError`` for one that listens neither at ``calls_path`` (a stream) nor at
        ``maps_path`` (a sequence of packets).
        """
        count = environ.pop("LISTEN_FDS", "")
        names = (environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDNAMES", ""))
        if names[0] != str(os.getpid()) or not count.isdigit():
            return cls()
        found = cls()
        for descriptor in range(_FIRST, _FIRST + int(count)):
            os.set_inheritable(descriptor, False)
            passed = socket.socket(fileno=descriptor)
            passed.setblocking(False)
            if passed.type == socket.SOCK_STREAM and _is_at(calls_path, passed):
                found.calls = passed
            elif passed.type == socket.SOCK_SEQPACKET and _is_at(maps_path, passed):
                found.maps = passed
            else:
                raise ConfigError(
                    f"the service manager passes a socket at {passed.getsockname()!r}; set "
                    f"ListenStream={calls_path} and ListenSequentialPacket={maps_path}, or "
                    "another --socket"
                )
        return found

    def turn_away(self) -> None:
        """Closes from now on whatever connects to gRPC's socket, by way of its old place."""
        if self.calls is not None:
            asyncio.get_running_loop().add_reader(self.calls.fileno(), self._close_connections)
            self._is_turning_away = True

    def give_back(self) -> None:
        """Leaves who connects from now on to the next daemon. Idempotent."""
        if self.calls is not None and self._is_turning_away:
            asyncio.get_running_loop().remove_reader(self.calls.fileno())
            self._is_turning_away = False

    def _close_connections(self) -> None:
        assert self.calls is not None
        with contextlib.suppress(OSError):
            for _ in range(_MAX_ACCEPTED):
                self.calls.accept()[0].close()


def _is_at(path: Path, passed: socket.socket) -> bool:
    if passed.family != socket.AF_UNIX:
        return False
    name = passed.getsockname()
    return isinstance(name, str) and os.path.realpath(name) == os.path.realpath(path)
