"""A process is measured with those that it started, and left out once it has ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from boardd.system.machine import GIBIBYTE
from boardd.system.probe import Probe
from boardd.system.processes import Processes
from support.waiting import wait_until

#: Starts a child that holds 64 MiB, says so, and waits with it for the end of its input.
PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "held = b'x' * (64 << 20); print(len(held), flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
child.stdout.readline()
print(flush=True)
sys.stdin.readline()
child.communicate(b"\\n")
"""


def test_children_are_measured_with_their_parent() -> None:
    processes = Processes()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        values = processes.measure([process.pid], 1.0)[process.pid]
        assert values["process/children"] == 1
        assert values["process/children_memory_gib"] > (64 << 20) / GIBIBYTE
        assert values["process/memory_gib"] > 0
        assert "process/cpu_percent" not in values
        process.communicate(b"\n", timeout=60)
    assert processes.measure([process.pid], 2.0) == {}


def test_the_processor_time_is_that_since_the_last_measurement() -> None:
    processes, pid = Processes(), os.getpid()
    processes.measure([pid], 10.0)
    began = os.times()
    total = 0
    while os.times().user - began.user < 0.2:
        total += sum(range(10_000))
    ended = os.times()
    used = (ended.user - began.user) + (ended.system - began.system)
    # Of ten seconds, whatever the clock says.
    values = processes.measure([pid], 20.0)[pid]
    assert values["process/cpu_percent"] == pytest.approx(100 * used / 10.0, abs=1.0)


def test_a_probe_measures_host_and_processes() -> None:
    probe = Probe()
    first = probe.measure([os.getpid(), 2**22 + 1])
    assert set(first.processes) == {os.getpid()}
    assert 0 < first.host["host/memory_percent"] < 100
    assert 0 < first.host["host/disk_percent"] <= 100
    assert "host/cpu_percent" not in first.host
    later = []

    def has_ticked() -> bool:
        later.append(probe.measure([]))
        return "host/cpu_percent" in later[-1].host

    wait_until(has_ticked, "the processors' clocks, which tick 100 times a second, have moved")
    assert later[-1].processes == {}
    assert 0 <= later[-1].host["host/cpu_percent"] <= 100
