"""Compiles all of the daemon's kernels into numba's cache; fails if one is not there afterwards.

    python deploy/compile_kernels.py

An image does so as it is built. ``NUMBA_CACHE_DIR`` says where, ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` for which processors. Without them it is for the daemons of this machine:
if several begin at once and find nothing, each takes as long as all of them together.
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from boardd.host.kernel_compiler import compile_in_turn
from boardd.host.late_modules import kernel_modules, late_modules
from boardd_client import SummaryWriter
from numba.core.dispatcher import Dispatcher

STEPS = 20
WAIT_SECS = 600.0

#: Begins with kernels, and does not await them.
DAEMON = """
import sys
import boardd.reduce.compiled
from boardd.cli import main
sys.exit(main())
"""

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


def load_modules() -> None:
    """Compiles the kernels that say themselves of which types they are."""
    for name in (*late_modules(), *kernel_modules()):
        importlib.import_module(name)


def log_all() -> None:
    """Compiles what else records need: logs to a daemon of its own, alone and as two ranks."""
    with tempfile.TemporaryDirectory() as directory:
        socket, logdir = Path(directory, "s"), Path(directory, "logs")
        logdir.mkdir()
        command = [sys.executable, "-c", DAEMON, "--socket", str(socket)]
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
        if code := daemon.wait(WAIT_SECS):
            sys.exit(f"the daemon ended with {code}")


def missing() -> list[str]:
    """The kernels, among those of all modules that are loaded, that are not in the cache."""
    found = []
    for kernel in gc.get_objects():
        if not isinstance(kernel, Dispatcher) or not kernel.__module__.startswith("boardd."):
            continue
        directory = kernel.stats.cache_path
        if directory is not None:  # of one that only others call there is none
            module = kernel.__module__.rpartition(".")[2]
            name = f"{module}.{kernel.__qualname__}-{kernel.__code__.co_firstlineno}"
            if not any(Path(directory).glob(f"{name}.*.nbi")):
                found.append(name)
    return sorted(found)


def main() -> None:
    """Compiles each kernel in its way."""
    load_modules()
    compile_in_turn()
    log_all()
    if names := missing():
        sys.exit(f"not compiled: {', '.join(names)}; let {__file__} do what uses them")


if __name__ == "__main__":
    main()
