"""How the records of several ranks become one picture: what both ends know by name."""

from __future__ import annotations

from typing import Final

#: How the values of a scalar's ranks become one.
REDUCTIONS: Final = ("mean", "sum", "min", "max", "last")
#: What each rank keeps beside what is merged.
PER_RANK: Final = ("scalars", "all", "none")
#: Ranks of one run: more workers than any job has, and as many as daemons keep account of.
MAX_WORLD_SIZE: Final = 1 << 20
#: Bytes of a launch's identity, as UTF-8.
MAX_LAUNCH_BYTES: Final = 512
#: Bytes of a process's identity.
PROCESS_ID_BYTES: Final = 16
