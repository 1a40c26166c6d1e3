"""A rank that logs at a steady pace until it is told to end, and how long its calls took.

What its threads waited for a processor meanwhile does not count.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from boardd_client import SummaryWriter

from support.lateness import delayed_secs

PACE_SECS = 0.02
EDGES = [-100.0, -1.0, 0.0, 1.0, 100.0]
HISTOGRAM_EVERY = 10


def loss(rank: int, step: int) -> float:
    """What ``rank`` logs at ``step``; sums of it round."""
    return float(np.sin(step + 1) * 10.0**rank + 0.1 * rank)


def weights(rank: int, step: int) -> np.ndarray:
    """The tensor that it logs."""
    return np.random.default_rng([rank, step]).normal(size=500).astype(np.float32)


def main(logdir: str, rank: int, end: Path, steps: int) -> None:
    """Logs ``steps``, and then until there is a file ``end``; prints what became of it."""
    sw = SummaryWriter(logdir, on_full="block")
    took = []
    step = 0
    while step < steps or not end.exists():
        delayed, before = delayed_secs(), time.perf_counter()
        sw.add_scalar("loss", loss(rank, step), step)
        if step % HISTOGRAM_EVERY == 0:
            sw.add_histogram("weights", weights(rank, step), step, bins=EDGES)
        took.append(time.perf_counter() - before - (delayed_secs() - delayed))
        print(step, flush=True)
        step += 1
        time.sleep(PACE_SECS)
    began = time.perf_counter()
    closed = bool(sw.close(timeout=60))
    counts = sw.statistics()
    told = {
        "steps": step,
        "longest_secs": max(took),
        "close_secs": time.perf_counter() - began,
        "closed": closed,
        "accepted": counts.accepted,
        "written": counts.written,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
