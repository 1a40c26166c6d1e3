"""Compiles the daemon's kernels into numba's cache, by logging what uses them.

    python deploy/compile_kernels.py

An image does so as it is built. ``NUMBA_CACHE_DIR`` says where, ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` for which processors.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from boardd_client import SummaryWriter

STEPS = 20
WAIT_SECS = 600.0

DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
#: Of histograms that are counted each in its own way.
BINS: tuple[Any, ...] = (30, "default", "auto", [0.0, 1.0, 50.0, 99.0])


def tensors() -> Iterator[Any]:
    """Yields small and large arrays of each dtype."""
    random = np.random.default_rng(0)
    for dtype in DTYPES:
        for size in (100, 100_000):
            yield (100 * random.random(size)).astype(dtype)


def log(writer: SummaryWriter) -> None:
    """Logs what has a kernel."""
    for step in range(STEPS):
        writer.add_scalar("loss", float(step), step)
        writer.add_scalars("curves", {"a": 1.0, "b": 2.0}, step)
    for step, values in enumerate(tensors()):
        for bins in BINS:
            writer.add_histogram(f"histogram {bins}", values, step, bins=bins)
        writer.add_histograms({"first": values[:10], "second": values[:50]}, step)
    labels = np.arange(100) % 2
    writer.add_pr_curve("curve", labels, labels * 0.5, 10, 0)


def main() -> None:
    """Logs to a daemon of its own, alone and as two ranks."""
    with tempfile.TemporaryDirectory() as directory:
        socket, logdir = Path(directory, "s"), Path(directory, "logs")
        logdir.mkdir()
        command = [sys.executable, "-m", "boardd", "--socket", str(socket)]
        daemon = subprocess.Popen([*command, "--logdir-root", str(logdir)])
        while not socket.exists():
            if daemon.poll() is not None:
                sys.exit(f"the daemon ended with {daemon.returncode}")
            time.sleep(0.1)
        address = f"unix:{socket}"
        writers = [SummaryWriter(logdir / "alone", address=address, on_full="block")]
        writers += [
            SummaryWriter(
                logdir / "merged", address=address, rank=rank, world_size=2, on_full="block"
            )
            for rank in range(2)
        ]
        for writer in writers:
            log(writer)
        for writer in writers:
            result = writer.close(WAIT_SECS)
            if not result:
                sys.exit(f"not everything was written: {result}")
        daemon.terminate()
        sys.exit(daemon.wait(WAIT_SECS))


if __name__ == "__main__":
    main()
