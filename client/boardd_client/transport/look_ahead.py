"""What a writer has found out for it on a thread, since it takes longer than all the rest.

Once in a process: how much memory it may take. Once for each address: whether any daemon
can get the records as things are, of which the user is warned if not.
"""

from __future__ import annotations

import time
from typing import Final

from boardd_protos.address import UnixAddress
from boardd_protos.control_groups import known_memory_limit_bytes

from boardd_client.transport import autostart
from boardd_client.transport.warn_once import WarnOnce

#: Seconds until the look for obstacles, which is not to compete with what a process does first.
_DELAY_SECS: Final = 0.2
#: Addresses that are remembered; writers of more are not warned about.
_MAX_ADDRESSES: Final = 1000


class LookAhead:
    """See the module. Any thread may call."""

    def __init__(self) -> None:
        self._addresses: set[UnixAddress] = set()

    def __call__(self, address: UnixAddress) -> None:
        """Looks, the first time for ``address``. Takes up to a second then."""
        if address in self._addresses or len(self._addresses) >= _MAX_ADDRESSES:
            return
        self._addresses.add(address)
        known_memory_limit_bytes()
        time.sleep(_DELAY_SECS)
        found = autostart.obstacle(address)
        if found:
            tell_lack(address, found, "in memory")


look_ahead: Final = LookAhead()
_warn: Final = WarnOnce()


def tell_lack(address: UnixAddress, why: str, place: str) -> None:
    """Warns, once for each address, that no daemon can be had there.

    ``place`` says where records are kept until there is one.
    """
    _warn(
        str(address),
        f"there is no daemon at {address}, and none can be started: {why}; until there is one, "
        f"what is logged is kept {place}",
    )
