"""Runs one workload through one peer in this process, and prints what it cost as JSON.

python -m comparison.worker PEER WORKLOAD INPUT ROOT {repeated,once}
"""

from __future__ import annotations

import importlib
import json
import math
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from comparison.peers.interface import Peer
from comparison.processes import CpuMeter, wait_idle
from comparison.workloads import WORKLOADS, Workload

TAG = "comparison/measured"
#: With this many calls or more, the time between them is nothing beside them.
MANY_CALLS = 10_000


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


class Caller:
    """Makes a workload's calls, each with the next step."""

    def __init__(self, peer: Peer, workload: Workload) -> None:
        self._call = getattr(peer, workload.method)
        self._workload = workload
        self.steps = 0

    def warm_up(self) -> None:
        """Compiles and connects what the measured calls need, by some calls before them."""
        for _ in range(self._workload.warm_up_calls):
            self._call(TAG, self._workload.values(self.steps), self.steps)
            self.steps += 1
            if self._workload.settle is not None:
                self._workload.settle()

    def measure(self, calls: int, pause_secs: float) -> dict[str, float]:
        """Makes ``calls`` calls; nanoseconds for each value logged."""
        call, values, settle = self._call, self._workload.values, self._workload.settle
        clock, thread_clock = time.perf_counter_ns, time.thread_time_ns
        took = [0] * calls
        first = self.steps
        if calls >= MANY_CALLS:
            thread_ns = -thread_clock()
            for index in range(calls):
                value = values(first + index)
                start = clock()
                call(TAG, value, first + index)
                took[index] = clock() - start
            thread_ns += thread_clock()
        else:
            thread_ns = 0
            for index in range(calls):
                value = values(first + index)
                thread_start = thread_clock()
                start = clock()
                call(TAG, value, first + index)
                took[index] = clock() - start
                thread_ns += thread_clock() - thread_start
                if settle is not None:
                    settle()
                if pause_secs:
                    time.sleep(pause_secs)
        self.steps += calls
        ordered = sorted(took)
        size = self._workload.size
        return {
            "calls": calls,
            "p50_ns": quantile(ordered, 0.5) / size,
            "p999_ns": quantile(ordered, 0.999) / size,
            "mean_ns": sum(took) / calls / size,
            "thread_cpu_ns": thread_ns / calls / size,
        }


def measure(peer: Peer, workload: Workload, caller: Caller, logdir: Path) -> dict[str, Any]:
    """Makes the calls of a peer that is warm and idle, closes it, and counts what it wrote.

    Costs are those of the ``spaced`` and the ``back_to_back`` calls, each None if the
    workload has no such calls, and of both together until ``close`` returned.
    """
    meter = CpuMeter()
    spaced = back_to_back = None
    if workload.spaced_calls:
        spaced = caller.measure(workload.spaced_calls, workload.pause_secs)
    if workload.back_to_back_calls:
        back_to_back = caller.measure(workload.back_to_back_calls, 0.0)
    called = time.perf_counter()
    peer.close()
    close_secs = time.perf_counter() - called
    cpu_ns = meter.elapsed_ns()

    measured = (caller.steps - workload.warm_up_calls) * workload.size
    return {
        "spaced": spaced,
        "back_to_back": back_to_back,
        "total_cpu_ns": cpu_ns / measured,
        "close_secs": close_secs,
        "logged": caller.steps * workload.size,
        "written": peer.written(logdir, TAG, workload.method),
    }


def main() -> None:
    name, workload_name, kind, root, times = sys.argv[1:]
    workload = WORKLOADS[workload_name][kind]()
    if times == "once":
        workload = replace(workload, warm_up_calls=0, spaced_calls=1, back_to_back_calls=0)
    logdir = Path(root) / "measured"
    meter = CpuMeter()
    peer = load(name)
    peer.start(Path(root))
    try:
        peer.open(logdir)
        peer.prepare(workload.method)
        caller = Caller(peer, workload)
        caller.warm_up()
        peer.flush()
        wait_idle()
        started_cpu_secs = meter.elapsed_ns() / 1e9
        result = measure(peer, workload, caller, logdir)
    finally:
        peer.stop()
    result["start_cpu_secs"] = started_cpu_secs
    result["versions"] = {"python": platform.python_version(), **peer.versions()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
