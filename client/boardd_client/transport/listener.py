"""Who listens on a daemon's Unix socket, found out before anything is said to them.

The user's own socket counts if its directory keeps others out. A socket that the user
has named, by ``address`` or ``BOARDD_ADDRESS``, may lie in any directory: there, the
process that listens must be this user's or root's. Root may use anyone's.
"""

from __future__ import annotations

import os
import socket

from boardd_protos import address as addresses
from boardd_protos import local_socket
from boardd_protos.address import UnixAddress

from boardd_client.transport.connection import ConnectionFailedError


def check_listener(address: UnixAddress) -> None:
    """Raises ``ConnectionFailedError`` if whoever listens at ``address`` is not to be trusted.

    It is nobody's fault if nobody listens.
    """
    directory = address.path.parent
    if not os.path.lexists(directory):
        return
    try:
        local_socket.check_private_directory(directory)
    except local_socket.DirectoryRefusedError as error:
        if address == addresses.default_address():
            raise ConnectionFailedError("PERMISSION_DENIED", str(error)) from None
    else:
        return
    user = _listening_user(address)
    if user is not None and os.geteuid() != 0 and user not in (0, os.geteuid()):
        raise ConnectionFailedError(
            "PERMISSION_DENIED",
            f"a process of user {user} listens at {address}, neither yours nor root's; name "
            "another socket in BOARDD_ADDRESS",
        )


def _listening_user(address: UnixAddress) -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(address.path))
            return local_socket.peer_credentials(probe).uid
        except OSError:  # nobody, or not reachable: connecting will say so
            return None
