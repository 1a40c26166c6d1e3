"""Processes, each with those that it started, such as the workers that load its data."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import psutil

from boardd.system.machine import GIBIBYTE


class _Process(NamedTuple):
    """A process that runs. ``began`` tells it from a later one of its number."""

    began: float
    cpu_secs: float
    memory_bytes: int
    threads: int


#: Processes of one tree that are looked at; more are left out.
_MAX_CHILDREN: Final = 4096
#: More than the line of a process in proc(5) has.
_MAX_STAT_BYTES: Final = 4096


class Processes:
    """The processes of this host that are measured. For one thread at a time."""

    def __init__(self) -> None:
        #: By number: what each process, and those that it started, had used before.
        self._before: dict[int, dict[int, _Process]] = {}
        self._measured_at: dict[int, float] = {}

    def measure(self, pids: Iterable[int], now: float) -> dict[int, dict[str, float]]:
        """Returns what each of ``pids`` uses at ``now``, by name and unit.

        A process that has ended is left out. The share of a processor covers the time since
        the last call; above 100 are several processors.
        """
        wanted = set(pids)
        children = _children() if wanted else {}
        found = {}
        for pid in wanted:
            tree = _tree(pid, children)
            if pid not in tree:
                self._before.pop(pid, None)
                continue
            found[pid] = self._measured(pid, tree, now)
        for pid in set(self._before) - wanted:
            del self._before[pid]
        self._measured_at = dict.fromkeys(found, now)
        return found

    def _measured(self, pid: int, tree: dict[int, _Process], now: float) -> dict[str, float]:
        process = tree[pid]
        values = {
            "process/memory_gib": process.memory_bytes / GIBIBYTE,
            "process/threads": float(process.threads),
        }
        if len(tree) > 1:
            children = sum(one.memory_bytes for key, one in tree.items() if key != pid)
            values["process/children"] = float(len(tree) - 1)
            values["process/children_memory_gib"] = children / GIBIBYTE
        before = self._before.get(pid, {})
        secs = now - self._measured_at.get(pid, now)
        if secs > 0 and pid in before and before[pid].began == process.began:
            used = sum(one.cpu_secs - _used(before.get(key), one) for key, one in tree.items())
            values["process/cpu_percent"] = 100.0 * max(0.0, used) / secs
        self._before[pid] = tree
        return values


def _used(before: _Process | None, process: _Process) -> float:
    """What ``process`` had used when it was measured ``before``; nothing if it is another."""
    return before.cpu_secs if before is not None and before.began == process.began else 0.0


def _children() -> dict[int, list[int]]:
    """The numbers of all processes by that of their parent.

    Read here: ``psutil.process_iter`` takes five times as long, which on a host of a thousand
    processes would be most of what a quiet daemon does.
    """
    children: dict[int, list[int]] = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):  # it has ended
            children.setdefault(_parent(pid), []).append(pid)
    return children


def _parent(pid: int) -> int:
    """See proc(5). Raises ``OSError`` if the process has ended."""
    descriptor = os.open(f"{psutil.PROCFS_PATH}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _, _, fields = os.read(descriptor, _MAX_STAT_BYTES).rpartition(b")")
    finally:
        os.close(descriptor)
    return int(fields.split(None, 2)[1])


def _tree(pid: int, children: Mapping[int, list[int]]) -> dict[int, _Process]:
    tree: dict[int, _Process] = {}
    waiting = [pid]
    while waiting and len(tree) <= _MAX_CHILDREN:
        key = waiting.pop()
        process = _process(key)
        if process is not None and key not in tree:
            tree[key] = process
            waiting += children.get(key, ())
    return tree


def _process(pid: int) -> _Process | None:
    """What the process uses; None if it has ended, or is another user's."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return _Process(
                process.create_time(),
                times.user + times.system,
                process.memory_info().rss,
                process.num_threads(),
            )
    except (psutil.Error, OSError):
        return None
