"""What this machine lets the daemon have, of which defaults are a share."""

from __future__ import annotations

import contextlib
import os
import threading

from boardd_protos import control_groups


def memory_bytes() -> int:
    """The machine's memory, or what control groups allow of it, if that is less."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit_bytes = control_groups.memory_limit_bytes()
    return machine_bytes if limit_bytes is None else min(machine_bytes, limit_bytes)


def processors(*, is_bound: bool = True) -> float:
    """How many processors the daemon may use: those it is bound to, and the groups' quota of them.

    Without ``is_bound``, those that it can unbind itself to: a client's process may be bound to
    few of its own.
    """
    count = float(len(os.sched_getaffinity(0)) if is_bound else _unbound_count())
    quota = control_groups.processor_quota()
    return count if quota is None else min(count, quota)


def unbind(thread: int = 0) -> None:
    """Binds a thread of this process, 0 for the own one, to all processors that it may have.

    It stays as it is if that is not allowed, or if it has ended.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, range(os.cpu_count() or 1))


def _unbound_count() -> int:
    """The processors that control groups leave to this process."""
    found = [1]

    def look() -> None:
        unbind()  # this thread alone, which ends
        found.append(len(os.sched_getaffinity(0)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[-1]
