"""Compiles the daemon's kernels, which are then on the disk for the daemons of all tests.

    PYTHONPATH=tests python -m support.warm_kernels

A fresh clone has none. If the first daemons of several sessions compile them at once, each of
these takes as long as all of them together.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from boardd_client import SummaryWriter

from support.daemon_process import DaemonProcess

STEPS = 20
WAIT_SECS = 300.0


def tensors() -> Iterator[np.ndarray]:
    """Yields small and large tensors of the dtypes that have kernels of their own."""
    random = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.float16, np.int64, np.uint8):
        for size in (100, 100_000):
            yield (100 * random.random(size)).astype(dtype)


def log(sw: SummaryWriter) -> None:
    """Logs what has a kernel."""
    for step in range(STEPS):
        sw.add_scalar("loss", float(step), step)
        sw.add_scalars("curves", {"a": 1.0, "b": 2.0}, step)
    for step, values in enumerate(tensors()):
        for bins in (30, "default", "auto", [0.0, 1.0, 50.0, 99.0]):
            sw.add_histogram(f"histogram {bins}", values, step, bins=bins)
        for number in range(4):  # of ranks, those that follow each other are made together
            sw.add_histogram(f"histogram {number}", values, step, bins=30)
        sw.add_histograms({"first": values[:10], "second": values[:50]}, step)
    labels = np.arange(100) % 2
    sw.add_pr_curve("curve", labels, labels * 0.5, 10, 0)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(Path(directory), popen=subprocess.Popen))
        logdir, address = daemon.logdir, daemon.address
        writers = [SummaryWriter(logdir / "alone", address=address)]
        writers += [
            SummaryWriter(logdir / "merged", address=address, rank=rank, world_size=2)
            for rank in range(2)
        ]
        for sw in writers:
            log(sw)
        for sw in writers:
            assert sw.close(WAIT_SECS)


if __name__ == "__main__":
    main()
