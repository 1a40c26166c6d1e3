"""Runs one workload through one peer in this process, and prints what it cost as JSON.

python -m comparison.worker PEER WORKLOAD INPUT ROOT
"""

from __future__ import annotations

import importlib
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

from comparison.event_files import count_events
from comparison.peers.interface import Peer
from comparison.processes import CpuMeter
from comparison.workloads import WORKLOADS, Workload

TAG = "comparison/measured"
#: Enough for code that only long stretches of records reach.
WARM_UP_CALLS = {"scalar": 1000, "histogram": 3, "image": 3}


def load(name: str) -> Peer:
    """Imports peer ``module`` or ``module.Class``."""
    module, _, attribute = name.partition(".")
    peer: Peer = getattr(
        importlib.import_module(f"comparison.peers.{module}"), attribute or "Peer"
    )()
    return peer


def quantile(ordered: list[int], fraction: float) -> int:
    """The smallest of ``ordered`` that at least ``fraction`` of it does not exceed."""
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def warm_up(peer: Peer, workload: Workload, root: Path) -> None:
    """Imports, compiles and connects what the measured calls need, by some calls before them."""
    call = getattr(peer, workload.method)
    peer.open(root / "warm-up")
    for step in range(WARM_UP_CALLS[workload.method]):
        call("comparison/warm-up", workload.values(step), step)
    peer.close()


def measure(peer: Peer, workload: Workload, root: Path) -> dict[str, Any]:
    """Makes the calls, closes, and returns costs in nanoseconds and seconds."""
    call = getattr(peer, workload.method)
    values = workload.values

    logdir = root / "measured"
    peer.open(logdir)
    call("comparison/warm-up", values(0), 0)

    clock, settle = time.perf_counter_ns, workload.settle
    took = [0] * workload.calls
    meter = CpuMeter()
    thread_ns = -time.thread_time_ns()
    begin = clock()
    if settle is None and workload.calls > 10_000:
        # Back to back, nothing between two calls but the clock.
        for step in range(workload.calls):
            value = values(step)
            start = clock()
            call(TAG, value, step)
            took[step] = clock() - start
        thread_ns += time.thread_time_ns()
    else:
        thread_ns = 0
        for step in range(workload.calls):
            value = values(step)
            thread_start = time.thread_time_ns()
            start = clock()
            call(TAG, value, step)
            took[step] = clock() - start
            thread_ns += time.thread_time_ns() - thread_start
            if settle is not None:
                settle()
    called = clock()
    peer.close()
    closed = clock()
    cpu_ns = meter.elapsed_ns()

    ordered = sorted(took)
    return {
        "calls": workload.calls,
        "p50_ns": quantile(ordered, 0.5),
        "p999_ns": quantile(ordered, 0.999),
        "mean_ns": sum(took) / workload.calls,
        "thread_cpu_ns": thread_ns / workload.calls,
        "total_cpu_ns": cpu_ns / workload.calls,
        "loop_secs": (called - begin) / 1e9,
        "close_secs": (closed - called) / 1e9,
        "events": count_events(logdir, TAG) if peer.writes_events else None,
    }


def main() -> None:
    name, workload_name, kind, root = sys.argv[1:]
    workload = WORKLOADS[workload_name][kind]()
    meter = CpuMeter()
    peer = load(name)
    peer.start(Path(root))
    try:
        warm_up(peer, workload, Path(root))
        started_cpu_secs = meter.elapsed_ns() / 1e9
        result = measure(peer, workload, Path(root))
    finally:
        peer.stop()
    result["start_cpu_secs"] = started_cpu_secs
    result["versions"] = {"python": platform.python_version(), **peer.versions()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
