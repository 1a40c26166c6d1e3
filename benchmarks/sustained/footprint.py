"""What a process holds of the system at a moment, as /proc shows it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple


class Footprint(NamedTuple):
    """Counts, and memory in bytes. ``maps`` are lines of /proc/PID/maps."""

    descriptors: int
    threads: int
    maps: int
    shared_maps: int  #: of memfds and of logs
    children: int  #: zombies among them
    rss_bytes: int


def footprint(pid: int) -> Footprint:
    """Looks at the process ``pid``; raises ``OSError`` if it is gone."""
    process = Path(f"/proc/{pid}")
    maps = (process / "maps").read_text().splitlines()
    pages = int((process / "statm").read_text().split()[1])
    return Footprint(
        descriptors=len(os.listdir(process / "fd")),
        threads=len(os.listdir(process / "task")),
        maps=len(maps),
        shared_maps=sum("memfd:" in line or "/dev/shm/" in line for line in maps),
        children=_children(pid),
        rss_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
    )


def _children(pid: int) -> int:
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            count += int(stat.read_text().rpartition(")")[2].split()[1]) == pid
    return count


def hourly_growth(secs: list[float], values: list[float]) -> float:
    """The slope of the line of least squares through ``values``, for each hour; 0.0 for one."""
    mean_secs, mean = sum(secs) / len(secs), sum(values) / len(values)
    spread = sum((at - mean_secs) ** 2 for at in secs)
    if not spread:
        return 0.0
    slope = sum((at - mean_secs) * (value - mean) for at, value in zip(secs, values, strict=True))
    return 3600.0 * slope / spread
