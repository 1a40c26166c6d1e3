"""Stock TensorBoard in a real browser draws one clean curve of a training that was resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, require_browser
from support.daemon_process import DaemonProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAST_CHECKPOINT = 6
STEPS = 10

TRAINING = f"""
import os, signal, sys
import numpy as np
from boardd_client import SummaryWriter

sw = SummaryWriter(sys.argv[1], address=sys.argv[2])
for step in range({STEPS}):
    sw.add_scalar("loss", -step, step)
    sw.add_scalar("gone", -step, step)
    sw.add_histogram("weights", np.arange(5.0), step)
assert sw.flush(timeout=60)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_scalars_and_histograms_of_a_resumed_run(daemon: DaemonProcess) -> None:
    require_browser()
    logdir = Path(daemon.logdir / "run")
    killed = subprocess.run(
        [sys.executable, "-c", TRAINING, str(logdir), daemon.address], check=False, timeout=120
    )
    assert killed.returncode == -9
    with SummaryWriter(logdir, address=daemon.address, purge_step=LAST_CHECKPOINT) as sw:
        for step in range(LAST_CHECKPOINT, LAST_CHECKPOINT + 2):
            sw.add_scalar("loss", -step, step)
            sw.add_histogram("weights", np.arange(5.0), step)
    shown = LAST_CHECKPOINT + 2
    with Browser() as browser, TensorBoard(daemon.logdir) as tensorboard:
        pages.open_page(browser, tensorboard, "scalars")
        pages.expand_groups(browser)
        pages.show_outliers(browser)
        # Each series is drawn twice, as it is and smoothed.
        expected = {
            pages.Curves("loss", (shown,) * 2),
            pages.Curves("gone", (LAST_CHECKPOINT,) * 2),
        }
        browser.wait_for(
            lambda: set(pages.read_scalars(browser)), expected.__eq__, f"exactly {expected}"
        )
        pages.open_page(browser, tensorboard, "histograms")
        pages.expand_groups(browser)
        browser.wait_for(
            lambda: set(pages.read_histograms(browser)),
            {pages.Histograms("weights", "run", shown)}.__eq__,
            f"{shown} outlines of the weights",
        )
