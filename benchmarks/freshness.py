"""How long after ``add_scalar`` TensorBoard's loader reads the point, at default settings.

    python benchmarks/freshness.py [--quick]

Once with nothing else logged, and once beside 10,000 scalars a second. Then
the same under strace, to see that nothing is synced to the disk on the way.
Prints Markdown; a whole run writes it to benchmarks/README.md, and every figure
to benchmarks/results/freshness.json.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from boardd_client import SummaryWriter
from comparison.report import duration
from sustained import machine, publish
from sustained.daemon import Daemon
from sustained.event_steps import watcher

TAG = "fresh"
LIMIT_SECS = 60.0
POLL_SECS = 0.001
#: Pauses between two points, chosen to meet the client's rhythm at every phase.
PAUSE_SECS = (0.0, 0.3)
LOAD_PER_SEC = 10_000
LOAD_BURST = 100
SYNC_CALLS = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"


@contextlib.contextmanager
def load(logdir: Path, address: str) -> Iterator[None]:
    """Logs ``LOAD_PER_SEC`` scalars a second to another run from another thread."""
    ended = threading.Event()

    def log() -> None:
        with SummaryWriter(str(logdir), address=address, verbose=False) as writer:
            step = 0
            while not ended.wait(LOAD_BURST / LOAD_PER_SEC):
                for _ in range(LOAD_BURST):
                    writer.add_scalar("load", 0.5, step)
                    step += 1

    thread = threading.Thread(target=log)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def delays(writer: SummaryWriter, run: Path, points: int) -> list[float]:
    """Seconds from each call until the loader has the point, from a first one on.

    Raises ``RuntimeError`` when a point is not there after ``LIMIT_SECS``.
    """
    writer.add_scalar(TAG, 0.0, 0)
    if not writer.flush(LIMIT_SECS):
        raise RuntimeError("the first point was not written")
    loader = watcher(run)
    _read_until(loader, 0, time.perf_counter())
    chance = random.Random(0)
    found = []
    for step in range(1, points + 1):
        time.sleep(chance.uniform(*PAUSE_SECS))
        called = time.perf_counter()
        writer.add_scalar(TAG, float(step), step)
        _read_until(loader, step, called)
        found.append(time.perf_counter() - called)
    return found


def _read_until(loader: Any, step: int, since: float) -> None:
    while True:
        for event in loader.Load():
            if event.step == step and any(value.tag == TAG for value in event.summary.value):
                return
        if time.perf_counter() - since > LIMIT_SECS:
            raise RuntimeError(f"step {step} cannot be read {LIMIT_SECS:g} s after the call")
        time.sleep(POLL_SECS)


def measure(points: int, *, is_loaded: bool) -> list[float]:
    """Delays with a daemon of its own."""
    with tempfile.TemporaryDirectory(prefix="boardd-fresh-") as name:
        root = Path(name)
        with Daemon(root) as daemon, contextlib.ExitStack() as stack:
            if is_loaded:
                stack.enter_context(load(root / "load", daemon.address))
            writer = SummaryWriter(str(root / "run"), address=daemon.address, verbose=False)
            found = delays(writer, root / "run", points)
            writer.close()
    return found


def sync_calls(points: int) -> int:
    """The number of system calls that sync, made by the daemon while points are logged and read.

    Raises ``FileNotFoundError`` without strace, and ``RuntimeError`` if it may not trace.
    """
    with tempfile.TemporaryDirectory(prefix="boardd-fresh-") as name:
        root = Path(name)
        trace = root / "trace"
        with Daemon(root) as daemon:
            writer = SummaryWriter(str(root / "run"), address=daemon.address, verbose=False)
            delays(writer, root / "run", 1)
            tracer = subprocess.Popen(
                [
                    *("strace", "-f", "-e", f"trace={SYNC_CALLS}", "-e", "signal=none"),
                    *("-o", str(trace), "-p", str(daemon.pid)),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                assert tracer.stderr is not None
                line = tracer.stderr.readline()
                if "attached" not in line:
                    raise RuntimeError(line.strip())
                for step in range(points):
                    writer.add_scalar(TAG, 0.0, 2 + step)
                    if not writer.flush(LIMIT_SECS):
                        raise RuntimeError("a point was not written")
                counted = sum("sync" in line for line in trace.read_text().splitlines())
                # A sync that is asked for must show in the trace, or it proves nothing.
                if not writer.flush(LIMIT_SECS, level="synced"):
                    raise RuntimeError("a point was not synced")
            finally:
                tracer.terminate()
                tracer.wait()
            if "sync" not in trace.read_text():
                raise RuntimeError("strace does not see the fsync of flush(level='synced')")
            writer.close()
    return counted


def syncs(points: int) -> str:
    """``sync_calls`` in words."""
    if shutil.which("strace") is None:
        return "Not checked whether anything syncs on the way: strace is missing."
    try:
        counted = sync_calls(points)
    except RuntimeError as error:
        return f"Whether anything syncs on the way was not checked: {error}."
    return f"System calls of the daemon that sync, for {points} points: {counted or 'none'}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few points; writes nothing")
    parser.add_argument("--points", type=int, default=200)
    arguments = parser.parse_args()
    points = 10 if arguments.quick else arguments.points

    about = machine.describe()
    found = {
        "nothing else logged": measure(points, is_loaded=False),
        f"beside {LOAD_PER_SEC:,} scalars a second": measure(points, is_loaded=True),
    }
    rows = [
        [name, duration(median(secs) * 1e9), duration(max(secs) * 1e9)]
        for name, secs in found.items()
    ]
    text = "\n\n".join(
        [
            f"{points} points each; {machine.sentence(about)}",
            publish.table(["from the call to the reader", "median", "max"], rows),
            syncs(points),
        ]
    )
    if not arguments.quick:
        publish.publish("freshness", {"machine": about, "delay_secs": found}, text)
    print(text)


if __name__ == "__main__":
    main()
