"""Where a daemon listens, so that client and daemon agree without talking.

An address is ``unix:/path/to/boardd.sock`` or ``host:port``.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from boardd_protos.local_socket import HANDOVER_SUFFIX, directory_obstacle

SOCKET_NAME = "boardd.sock"

#: Linux's ``sun_path`` holds 108 bytes, the closing NUL included.
MAX_SOCKET_PATH_BYTES = 107


class AddressError(ValueError):
    """A text that is no address."""


@dataclass(frozen=True)
class UnixAddress:
    """A Unix socket, and the directory that guards it."""

    path: Path

    @property
    def target(self) -> str:
        """The address in gRPC's spelling."""
        return f"unix:{self.path}"

    def __str__(self) -> str:
        return self.target


@dataclass(frozen=True)
class TcpAddress:
    """A TCP host and port."""

    host: str
    port: int

    @property
    def target(self) -> str:
        """The address in gRPC's spelling."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host names this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, whatever it looks like
            return False

    def __str__(self) -> str:
        return self.target


Address = UnixAddress | TcpAddress


def parse(text: str) -> Address:
    """Parses ``unix:/path``, ``host:port`` or ``[v6]:port``.

    Raises ``AddressError`` for anything else, a relative socket path, a path
    longer than the kernel takes, and a port outside 0-65535.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise AddressError(f"address {text!r}: the socket path must be absolute")
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise AddressError(
                f"address {text!r}: a socket path has at most {MAX_SOCKET_PATH_BYTES} bytes"
            )
        return UnixAddress(Path(path))
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"address {text!r}: expected unix:/path or host:port")
    return TcpAddress(host, int(port))


def runtime_directory() -> Path:
    """The per-user directory of sockets and locks (mode 0700, not created here).

    ``$XDG_RUNTIME_DIR/boardd``; where that is not set, or is not this user's to write (a
    variable that ``su``, ``srun`` or ``docker exec`` brought along), ``/tmp/boardd-<uid>``.
    """
    last = Path("/tmp") / f"boardd-{os.getuid()}"
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.path.isabs(base):
        first = Path(base) / "boardd"
        socket_bytes = len(os.fsencode(first / SOCKET_NAME)) + len(HANDOVER_SUFFIX)
        if socket_bytes <= MAX_SOCKET_PATH_BYTES and not directory_obstacle(first):
            return first
    return last


def default_address() -> UnixAddress:
    """The per-user daemon's address."""
    return UnixAddress(runtime_directory() / SOCKET_NAME)
