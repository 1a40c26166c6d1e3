"""Whether a TCP port can be had; gRPC only says that it cannot."""

from __future__ import annotations

import errno
import socket

from boardd_protos import address

from boardd.errors import AddressTakenError, ConfigError


def check_port(listen: address.TcpAddress) -> None:
    """Raises ``CommandError`` that says why ``listen`` cannot be bound."""
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"--listen {listen}: {error.strerror}") from None
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressTakenError(
                    f"--listen {listen}: another process has this port; choose another, or 0 "
                    "for a free one"
                ) from None
            raise ConfigError(f"--listen {listen}: {error.strerror}") from None
