"""One process that opens, uses and closes writers again and again.

    python -m sustained.returning ADDRESS LOGDIR

Reads a number of seconds from each line, opens and closes writers for so long, and prints how
many it has closed in all.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from boardd_client import SummaryWriter

CLOSE_SECS = 60.0
STEPS = 50
PAUSE_SECS = 0.2


def use(address: str, run: Path) -> None:
    """Opens a writer, logs to it and closes it; raises ``RuntimeError`` if a record is missing."""
    writer = SummaryWriter(run, address=address, on_full="block", verbose=False)
    for step in range(STEPS):
        writer.add_scalar("loss", step / 2, step)
        writer.add_histogram("weights", np.arange(1000.0), step, bins=64)
    result = writer.close(CLOSE_SECS)
    counts = writer.statistics()
    if not result or counts.accepted != counts.written:
        raise RuntimeError(f"{run}: {result}, {counts}")


def main() -> None:
    """Opens and closes writers for as long as each line says."""
    closed = 0
    for line in sys.stdin:
        deadline = time.monotonic() + float(line)
        while time.monotonic() < deadline:
            use(sys.argv[1], Path(sys.argv[2]) / f"returning-{closed:06}")
            closed += 1
            time.sleep(PAUSE_SECS)
        print(closed, flush=True)


if __name__ == "__main__":
    main()
