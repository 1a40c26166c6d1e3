"""A daemon that dies at any of its writes, between what it wrote and what it told.

A short script, whose every step is a write, is played once for each of its writes, and a
daemon is killed at that one: before the write, with a part of it in the file, and after it,
before the acknowledgement.

Then two processes log to two runs as they like, while one daemon after the other is killed at
its first write. ``WRITE_SWEEP=40`` goes on to its second and as far as the 40th.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import steady_trainer
from support.daemon_process import DaemonProcess
from support.dying_daemon import HOWS
from support.independent_reader import points, run_events
from support.nursery import Nursery
from support.transports import SETTINGS, VARIABLE

WRITES = int(os.environ.get("WRITE_SWEEP", "1"))

STEPS = 7
#: The last write of a run tells that its session has ended.
SCRIPT_WRITES = STEPS + 1

#: Plays the script in each of the runs that it is told, one after the other.
SCRIPT = f"""
import sys
import numpy as np
from boardd_client import SummaryWriter

for run in sys.argv[2:]:
    sw = SummaryWriter(sys.argv[1] + "/" + run)
    for step in range({STEPS}):
        sw.add_scalar("loss", 1.0, step)
        assert sw.flush(timeout=60), run
        if step == 3:
            sw.add_histogram("weights", np.arange(9.0), step)
    assert sw.close(timeout=60), run
    counts = sw.statistics()
    assert counts.accepted == counts.written, (run, counts)
"""


def die_at_a_write(
    daemons: Nursery, tmp_path: Path, socket: Path, environ: Mapping[str, str]
) -> None:
    """Runs a daemon until it has killed itself as ``environ`` says."""
    with DaemonProcess(
        tmp_path,
        socket=socket,
        environ=environ,
        module="support.dying_daemon",
        popen=daemons.popen,
        wait=False,
    ) as daemon:
        assert daemon.wait() == -signal.SIGKILL, daemon.log


@pytest.mark.slow
def test_a_history_is_written_once_whichever_of_its_writes_is_the_daemons_last(
    transport: str, tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    logdir = tmp_path / "logs"
    histories = [(how, write) for write in range(1, SCRIPT_WRITES + 1) for how in HOWS]
    runs = [f"{how}-{write}" for how, write in histories]
    environ = {
        **os.environ,
        VARIABLE: SETTINGS[transport],
        "BOARDD_AUTOSTART": "0",
        "BOARDD_ADDRESS": f"unix:{socket}",
    }
    with (
        Nursery("support.loaded_daemon") as daemons,
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(logdir), *runs], env=environ) as script,
    ):
        try:
            for run, (how, write) in zip(runs, histories, strict=True):
                dying = {"DIES_AT_WRITE": str(write), "DIES": how, "DIES_IN": run}
                die_at_a_write(daemons, tmp_path, socket, dying)
            with DaemonProcess(tmp_path, socket=socket):
                assert script.wait(120) == 0
        finally:
            script.kill()
    for run in runs:
        assert [step for step, _ in points(logdir / run, "loss")] == list(range(STEPS)), run
        assert [step for step, _ in points(logdir / run, "weights")] == [3], run
        assert sum(len(event.values) for event in run_events(logdir / run)) == STEPS + 1, run


@pytest.mark.slow
def test_every_record_is_written_once_wherever_the_daemon_dies(
    transport: str, tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    logdir = tmp_path / "logs"
    logdir.mkdir()
    environ = {**os.environ, VARIABLE: SETTINGS[transport], "BOARDD_AUTOSTART": "0"}
    trainers: list[subprocess.Popen[str]] = []
    try:
        for number in (1, 2):
            trainers.append(steady_trainer.start(f"unix:{socket}", logdir, number, environ))
        with Nursery("support.loaded_daemon") as daemons:
            for write in range(1, WRITES + 1):
                for how in HOWS:
                    dying = {"DIES_AT_WRITE": str(write), "DIES": how}
                    die_at_a_write(daemons, tmp_path, socket, dying)
        with DaemonProcess(tmp_path, socket=socket):
            steps = [steady_trainer.end(trainer, timeout_secs=240) for trainer in trainers]
    finally:
        for trainer in trainers:
            trainer.kill()
            trainer.wait(timeout=120)
    assert min(steps) > 0
    for name in ("a", "b"):
        run = logdir / name
        for number, count in enumerate(steps, 1):
            found = [step for step, value in points(run, "loss") if value == number]
            assert found == list(range(count))
            histograms = [step for step, _ in points(run, f"h{number}")]
            assert histograms == list(range(0, count, steady_trainer.HISTOGRAM_STEPS))
        # Nothing else is there.
        shown = sum(len(event.values) for event in run_events(run))
        every = steady_trainer.HISTOGRAM_STEPS
        assert shown == sum(count + (count + every - 1) // every for count in steps)
