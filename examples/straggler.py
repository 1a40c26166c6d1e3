"""A straggler: all workers wait for one, and boardd tells which.

    python examples/straggler.py --workers 8 --slow-rank 5 --logdir logs/straggler
    tensorboard --logdir logs

The workers meet at a barrier in every step, as data-parallel training does when gradients are
averaged. So each takes as long as the slowest, and their step times tell nothing. What does tell is
when each of them logs a value before it waits: open the TEXT page, ``boardd/group``, for who came
last how often, and the curves ``boardd/group/arrival_spread_secs`` and ``work_secs``.

Nothing but NumPy is needed; the work is made up.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier

import numpy as np
from boardd_client import SummaryWriter

LOSS_TAG = "loss"
WORK_TAG = "work_secs"
STEP_TAG = "step_secs"
WORK_SECS = 0.02
PATIENCE_SECS = 60.0


def work(rank: int, barrier: Barrier, options: argparse.Namespace) -> None:
    """Trains as worker ``rank``, so to speak."""
    os.environ.update(BOARDD_RANK=str(rank), BOARDD_WORLD_SIZE=str(options.workers))
    random = np.random.RandomState(options.seed + rank)
    with SummaryWriter(options.logdir) as sw:
        barrier.wait(PATIENCE_SECS)
        for step in range(options.steps):
            began = time.perf_counter()
            is_slow = rank == options.slow_rank and step >= options.slow_from
            time.sleep(WORK_SECS * random.uniform(0.8, 1.2) * (options.factor if is_slow else 1))
            loss = 2.3 * np.exp(-step / 60) + random.uniform(-0.1, 0.1)

            # Logged before it waits for the others, so the time of logging says how fast it was.
            sw.add_scalar(LOSS_TAG, loss, step)
            sw.add_scalar(WORK_TAG, time.perf_counter() - began, step)
            barrier.wait(PATIENCE_SECS)
            sw.add_scalar(STEP_TAG, time.perf_counter() - began, step)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Log workers of which one is slow, so that all are.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/straggler", help="directory of the run")
    parser.add_argument("--workers", type=int, default=8, help="processes that work")
    parser.add_argument("--steps", type=int, default=150, help="steps of each worker")
    parser.add_argument("--slow-rank", type=int, default=5, help="the worker that is slow")
    parser.add_argument("--slow-from", type=int, default=50, help="the step from which it is slow")
    parser.add_argument("--factor", type=float, default=3.0, help="times that its work takes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    options = parser.parse_args(arguments)
    if not 0 <= options.slow_rank < options.workers:
        parser.error(f"--slow-rank {options.slow_rank}: expected below --workers")

    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(options.workers)
    workers = [
        context.Process(target=work, args=(rank, barrier, options), daemon=True)
        for rank in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        parser.exit(1, "a worker failed\n")


if __name__ == "__main__":
    main()
