"""How long a group waits for its ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Seconds after which a daemon that has nothing to pass on says that it is there.
HEARTBEAT_SECS: Final = 10.0


@dataclass(frozen=True)
class GroupLimits:
    """What closes a point that not every rank contributed to."""

    #: Seconds from the beginning of an attempt in which ranks are waited for that have not
    #: logged anything.
    join_secs: float = 60.0
    #: Newer open keys of a tag, beside which a key stays open.
    lag_points: int = 1000
    #: Seconds for which it stays open beside more: after an outage, one rank's backlog may come
    #: as a whole before another's.
    backlog_secs: float = 5.0
    #: Seconds for which a key stays open.
    lag_secs: float = 300.0
    #: Memory of open points. Beyond it the oldest are closed.
    max_open_bytes: int = 64 << 20
    #: Seconds after which the ranks of another host are not waited for, if nothing comes from it.
    #: Its daemon says so every ``HEARTBEAT_SECS`` if it has nothing else to say.
    host_secs: float = 300.0
