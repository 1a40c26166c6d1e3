"""The README's example runs as it is printed, and TensorBoard reads what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.daemon_process import DaemonProcess
from support.examples import EXAMPLE_SECS, require_packages
from support.tensorboard_reader import read_histograms, read_scalars

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_runs_as_it_is_printed(daemon: DaemonProcess) -> None:
    require_packages("mxnet")
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
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
    logdir = daemon.logdir / "logs"
    scalars = read_scalars(logdir, "python")["first"]["norm"]
    assert [point.step for point in scalars] == list(range(1000))
    histograms = read_histograms(logdir, "python")["first"]["weights"]
    assert [point.step for point in histograms] == list(range(0, 1000, 100))
