"""One client process that logs as fast as it can.

    python -m sustained.flood ADDRESS LOGDIR WORKLOAD CALLS

Prints ``ready`` when it is connected, begins when it reads a line, and prints
what it did as JSON. Times are CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from boardd_client import SummaryWriter

WAIT_SECS = 600.0

#: Records of one call.
RECORDS = {"scalar": 1, "set": 100, "histogram": 1}
TAG = "loss"
SERIES = "curves"
HISTOGRAM_TAG = "weights"
#: The run beneath the logdir; the warm-up has one of its own.
MEASURED = "measured"
BINS = 1000
VALUES = 4_000_000
BYTES_PER_VALUE = 4


def scalars(writer: SummaryWriter, calls: int) -> None:
    """``add_scalar`` of a number, again and again."""
    add_scalar = writer.add_scalar
    for step in range(calls):
        add_scalar(TAG, 0.5, step)


def sets(writer: SummaryWriter, calls: int) -> None:
    """``add_scalar`` of a dict of 100 numbers, again and again."""
    values = {f"c{number:02}": number / 7 for number in range(RECORDS["set"])}
    add_scalar = writer.add_scalar
    for step in range(calls):
        add_scalar(SERIES, values, step)


class Histograms:
    """``add_histogram`` of 4M float32 in NumPy, 1000 bins, again and again."""

    def __init__(self) -> None:
        generator = np.random.default_rng(20170)
        self._arrays = [
            generator.standard_normal(VALUES, dtype=np.float32) * scale for scale in (1, 2, 3)
        ]

    def __call__(self, writer: SummaryWriter, calls: int) -> None:
        """Makes the calls."""
        for step in range(calls):
            array = self._arrays[step % len(self._arrays)]
            writer.add_histogram(HISTOGRAM_TAG, array, step, bins=BINS)


def main() -> None:
    address, logdir, workload, count = sys.argv[1:]
    calls = int(count)
    log: Any = {"scalar": scalars, "set": sets, "histogram": Histograms}[workload]
    if isinstance(log, type):
        log = log()
    options: dict[str, Any] = {"address": address, "on_full": "block", "verbose": False}
    warm = SummaryWriter(logdir, run="warm-up", **options)
    log(warm, min(calls, 3 if workload == "histogram" else 2000))
    require(warm.flush(WAIT_SECS))
    before = warm.statistics()

    writer = SummaryWriter(logdir, run=MEASURED, **options)
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    cpu = time.process_time()
    log(writer, calls)
    called = time.monotonic()
    require(writer.flush(WAIT_SECS))
    written = time.monotonic()
    cpu = time.process_time() - cpu
    counts = writer.statistics()
    require(writer.close(WAIT_SECS))
    require(warm.close(WAIT_SECS))
    print(
        json.dumps(
            {
                "begun": begun,
                "called": called,
                "written": written,
                "cpu_secs": cpu,
                "records": counts.written - before.written,
                "dropped": dict(counts.dropped),
            }
        )
    )


def require(result: Any) -> None:
    """Raises ``RuntimeError`` for a flush or close that failed."""
    if not result:
        raise RuntimeError(f"not written: {result}")


if __name__ == "__main__":
    main()
