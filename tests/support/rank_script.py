"""A rank of a launch that logs what a test can compute by itself."""

from __future__ import annotations

import sys
import time

import numpy as np
from boardd_client import SummaryWriter

from support.waiting import wait_until

#: Steps at which every rank logs, and between two histograms.
STEPS, HISTOGRAM_EVERY = 150, 25
#: A tag that only ranks from this one on log, as the last stages of a pipeline do.
LAST_STAGE = 2
EDGES = [-100.0, 0.0, 1.0, 2.0, 100.0]


def loss(rank: int, step: int) -> float:
    """What ``rank`` logs; sums of it round."""
    return float(np.sin(step + 1) * 10.0**rank + 0.1 * rank)


def weights(rank: int, step: int) -> np.ndarray:
    """The tensor that ``rank`` logs."""
    return np.random.default_rng([rank, step]).normal(size=100).astype(np.float32)


def main(logdir: str, rank: int, pace_secs: float) -> None:
    """Logs all steps, and closes when its standard input ends.

    Ends with an error unless all of it is written.
    """
    sw = SummaryWriter(logdir, on_full="block")
    for step in range(STEPS):
        sw.add_scalar("loss", loss(rank, step), step)
        sw.add_scalar("total", loss(rank, step), step, reduce="sum")
        if rank >= LAST_STAGE:
            sw.add_scalar("stage", float(rank), step, reduce="max")
        if step % HISTOGRAM_EVERY == 0:
            sw.add_histogram("weights", weights(rank, step), step, bins=EDGES)
        print(step, flush=True)
        time.sleep(pace_secs)
    sys.stdin.read()
    wait_until(lambda: sw.flush(timeout=60))  # a test may let its daemon begin late
    assert sw.close(timeout=60)
    counts = sw.statistics()
    assert counts.accepted == counts.written, counts


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
