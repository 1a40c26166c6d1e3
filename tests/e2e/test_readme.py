"""The README's examples run as they are printed, and TensorBoard reads what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.documents import printed
from support.examples import EXAMPLE_SECS, require_packages
from support.tensorboard_reader import read_histograms, read_scalars


def run_example(daemon: DaemonProcess, code: str) -> Path:
    """Runs an example, and returns where it has logged to."""
    assert len([line for line in code.splitlines() if line]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=daemon.logdir,
        env={**os.environ, "BOARDD_ADDRESS": daemon.address, "BOARDD_AUTOSTART": "0"},
        capture_output=True,
        text=True,
        timeout=EXAMPLE_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return daemon.logdir / "logs"


def test_the_first_lines_run_as_they_are_printed(daemon: DaemonProcess) -> None:
    logdir = run_example(daemon, printed("README.md", "from boardd_client").text)
    points = read_scalars(logdir, "python")["first"]["loss"]
    assert [point.step for point in points] == list(range(1000))
    assert points[9].value == pytest.approx(0.1)


def test_the_example_runs_as_it_is_printed(daemon: DaemonProcess) -> None:
    require_packages("mxnet")
    logdir = run_example(daemon, printed("README.md", "import mxnet as mx").text)
    scalars = read_scalars(logdir, "python")["weights"]["norm"]
    assert [point.step for point in scalars] == list(range(1000))
    histograms = read_histograms(logdir, "python")["weights"]["weights"]
    assert [point.step for point in histograms] == list(range(0, 1000, 100))
