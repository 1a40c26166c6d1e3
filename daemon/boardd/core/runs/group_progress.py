"""How the group of a merged run gets along, for ``boardd status``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class GroupProgress:
    """Written by the group's writer on the event loop, and read there."""

    world_size: int = 0
    #: How many ranks are there.
    ranks: int = 0
    #: The one that is farthest behind, -1: none is; and how many steps behind the first.
    last_rank: int = -1
    step_lag: int = 0
    #: Points that wait for ranks, and their memory.
    open_points: int = 0
    open_bytes: int = 0
    #: Contributions that came after their point was written.
    late: int = 0
    #: Events of points that their files do not take, by ``Reason``.
    rejected: dict[int, int] = field(default_factory=dict)
    #: Contributions of other hosts to tags that are another kind here.
    kind_conflicts: int = 0
    #: Of a group that is passed on to another daemon, what its journal holds for that.
    backlog_bytes: int = 0
