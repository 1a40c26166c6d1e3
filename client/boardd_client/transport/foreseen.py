"""What is known of a daemon before it has answered: what is logged until then is for it, too."""

from __future__ import annotations

from boardd_protos import REVISION
from boardd_protos.address import Address, UnixAddress
from boardd_protos.socket_owner import socket_owner

from boardd_client.transport import autostart


def revision(address: Address) -> int:
    """What the daemon at ``address`` will say it understands, see ``boardd_protos.REVISION``.

    That of a socket says so in its lock file. If there is none and this process would start the
    one of its own environment, that has this version. Of any other nothing is known: 0. Does not
    wait.
    """
    if not isinstance(address, UnixAddress):
        return 0
    owner = socket_owner(address.path)
    if owner is not None:
        return owner.revision
    return REVISION if autostart.starts_its_own(address) else 0
