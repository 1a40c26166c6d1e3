"""The README's examples run as they are printed, and TensorBoard reads what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.examples import EXAMPLE_SECS, require_packages
from support.tensorboard_reader import read_histograms, read_scalars

README = Path(__file__).resolve().parents[2] / "README.md"


def run_example(daemon: DaemonProcess, number: int) -> Path:
    """Runs the example of that number, and returns where it has logged to."""
    examples = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    code = examples[number]
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
    logdir = run_example(daemon, 0)
    points = read_scalars(logdir, "python")["first"]["loss"]
    assert [point.step for point in points] == list(range(1000))
    assert points[9].value == pytest.approx(0.1)


def test_the_example_runs_as_it_is_printed(daemon: DaemonProcess) -> None:
    require_packages("mxnet")
    logdir = run_example(daemon, 1)
    scalars = read_scalars(logdir, "python")["weights"]["norm"]
    assert [point.step for point in scalars] == list(range(1000))
    histograms = read_histograms(logdir, "python")["weights"]["weights"]
    assert [point.step for point in histograms] == list(range(0, 1000, 100))
