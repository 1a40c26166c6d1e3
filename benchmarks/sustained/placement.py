"""Which cores training and logging may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from comparison.processes import tree

#: By name: what it says in a table.
PLACEMENTS = {
    "free": "nothing pinned",
    "apart": "training on one core, the logger's service on another",
    "one": "training and logging on one core",
}


def is_possible(placement: str) -> bool:
    """Whether this machine has the cores."""
    return placement != "apart" or len(os.sched_getaffinity(0)) > 1


def place_training(placement: str) -> set[int]:
    """Pins this process, before it starts threads; returns the cores of what it will start.

    ``placement`` is one of ``PLACEMENTS``.
    """
    cores = sorted(os.sched_getaffinity(0))
    if placement == "free":
        return set(cores)
    os.sched_setaffinity(0, cores[:1])
    return set(cores[1:]) if placement == "apart" else set(cores[:1])


def place_started(cores: Collection[int]) -> None:
    """Moves every process that this one started, with all its threads, to ``cores``."""
    for pid in tree(os.getpid()) - {os.getpid()}:
        with contextlib.suppress(OSError):  # it has ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
