"""What is known of a daemon before it has answered: what is logged until then is for it, too."""

from __future__ import annotations

from boardd_protos.address import Address, UnixAddress
from boardd_protos.socket_owner import socket_owner


def takes_batches(address: Address) -> bool:
    """Whether to make records with summaries of several series for the daemon at ``address``.

    An older one rejects them. The one of a socket says so in its lock file. If there is none,
    one of this version will most likely be started; of another host's nothing is known. Does
    not wait.
    """
    if not isinstance(address, UnixAddress):
        return False
    owner = socket_owner(address.path)
    return owner is None or owner.takes_batches
