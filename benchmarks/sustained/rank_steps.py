"""One process that holds several ranks of a run and logs their steps at a fixed pace.

    python -m sustained.rank_steps ADDRESS,... LOGDIR WORLD_SIZE FIRST_RANK STEPS PAUSE_SECS

There is an address for each rank, all of one daemon but spelled differently, so each rank
has a session, a thread and a connection of its own, as in a process of its own. Prints
``ready`` when all have logged a step, begins at the time that it reads from a line, and
prints what it did as JSON. Times are CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from boardd_client import SummaryWriter

from sustained.flood import require

WAIT_SECS = 120.0
SCALARS = [f"scalar{number:03}" for number in range(100)]
HISTOGRAMS = ("weights", "gradients")
VALUES = 10_000
BINS = 64
#: Steps before the measured ones: tags become known, files are made, kernels are compiled.
WARM_UP_STEPS = 3


class Rank:
    """What one rank logs in each step."""

    def __init__(self, logdir: str, address: str, rank: int, world_size: int) -> None:
        generator = np.random.default_rng(rank)
        self._arrays = [
            generator.standard_normal(VALUES, dtype=np.float32) * scale for scale in (1, 3, 2)
        ]
        self._rank = rank
        self.writer = SummaryWriter(
            logdir, address=address, rank=rank, world_size=world_size, verbose=False
        )

    def log(self, step: int) -> None:
        """Logs one step."""
        add_scalar = self.writer.add_scalar
        value = self._rank + step / 7
        for tag in SCALARS:
            add_scalar(tag, value, step)
        for number, tag in enumerate(HISTOGRAMS):
            array = self._arrays[(step + number) % len(self._arrays)]
            self.writer.add_histogram(tag, array, step, bins=BINS)


def main() -> None:
    addresses, logdir, world_size, first, steps, pause_secs = sys.argv[1:]
    ranks = [
        Rank(logdir, address, int(first) + number, int(world_size))
        for number, address in enumerate(addresses.split(","))
    ]
    for step in range(WARM_UP_STEPS):
        for rank in ranks:
            rank.log(step)
    for rank in ranks:
        require(rank.writer.flush(WAIT_SECS))
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    logged = {}
    for number in range(int(steps)):
        step = WARM_UP_STEPS + number
        time.sleep(max(0.0, begin + number * float(pause_secs) - time.monotonic()))
        for rank in ranks:
            rank.log(step)
        logged[step] = time.monotonic()
    for rank in ranks:
        require(rank.writer.flush(WAIT_SECS))
    result: dict[str, Any] = {"logged": logged, "written": time.monotonic()}
    result["dropped"] = sum(sum(rank.writer.statistics().dropped.values()) for rank in ranks)
    result["rejected"] = sum(sum(rank.writer.statistics().rejected.values()) for rank in ranks)
    print(json.dumps(result), flush=True)
    sys.stdin.readline()
    for rank in ranks:
        require(rank.writer.close(WAIT_SECS))


if __name__ == "__main__":
    main()
