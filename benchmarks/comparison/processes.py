"""CPU time of a process and everything it started, to the nanosecond where the kernel can."""

from __future__ import annotations

import os
import time
from pathlib import Path

IDLE_SECS = 0.1
IDLE_SHARE = 0.1
LOADED_SECS = 300.0
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the third (state) on; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> set[int]:
    """Process ids of ``root`` and of its descendants that live now."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(_stat(int(entry))[1])
            except OSError:
                continue
    members = {root}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in members}
        grown = not children <= members
        members |= children
    return members


def _cpu_ns(pid: int) -> int:
    """CPU time, user and system, of ``pid`` and of the children it waited for.

    The process itself is read from its CPU clock, which counts its ended
    threads too; ended children from ``cutime`` and ``cstime``, in ticks of
    usually 10 ms. Raises ``OSError`` when the process is gone.
    """
    # The clock id of another process's CPU time: clock_getcpuclockid(3).
    own = time.clock_gettime_ns((~pid << 3) | 2)
    fields = _stat(pid)
    return own + (int(fields[13]) + int(fields[14])) * _TICK_NS


class CpuMeter:
    """CPU time that this process and its descendants use from now on."""

    def __init__(self) -> None:
        self._root = os.getpid()
        self._others = self._read_others()
        # Last, so that the look through /proc is not in the measured time.
        self._own = _cpu_ns(self._root)

    def _read_others(self) -> dict[int, int]:
        result = {}
        for pid in tree(self._root) - {self._root}:
            try:
                result[pid] = _cpu_ns(pid)
            except OSError:
                continue
        return result

    def elapsed_ns(self) -> int:
        """CPU time of all of them since the meter was made."""
        own = _cpu_ns(self._root) - self._own
        others = self._read_others()
        return own + sum(ns - self._others.get(pid, 0) for pid, ns in others.items())


def wait_idle(deadline_secs: float = 10.0) -> None:
    """Returns when this process and its descendants do next to nothing any more.

    That is less than ``IDLE_SHARE`` of one core over ``IDLE_SECS``. Returns after
    ``deadline_secs`` in any case.
    """
    deadline = time.monotonic() + deadline_secs
    while time.monotonic() < deadline:
        meter = CpuMeter()
        time.sleep(IDLE_SECS)
        if meter.elapsed_ns() < IDLE_SHARE * IDLE_SECS * 1e9:
            return


def wait_loaded(pid: int) -> None:
    """Returns when a boardd that has just started has loaded all, as one that has run a while.

    It begins five seconds after its start; with kernels, which may have to be compiled first,
    comes llvmlite. Raises ``RuntimeError`` if it has not come after ``LOADED_SECS``.
    """
    deadline = time.monotonic() + LOADED_SECS
    while time.monotonic() < deadline:
        before_ns = _cpu_ns(pid)
        time.sleep(10 * IDLE_SECS)
        is_idle = _cpu_ns(pid) - before_ns < IDLE_SHARE * IDLE_SECS * 1e9
        if is_idle and "libllvmlite" in Path(f"/proc/{pid}/maps").read_text():
            return
    raise RuntimeError(f"pid {pid} has not loaded its kernels in {LOADED_SECS:g} s")
