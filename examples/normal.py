"""MXBoard's first example: a normal distribution that grows narrower, step by step.

    python examples/normal.py --logdir logs/normal
    tensorboard --logdir logs

Then open the HISTOGRAMS page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import mxnet as mx
from boardd_client import SummaryWriter

TAG = "norm_dist"


def log_distributions(logdir: str, *, steps: int, bins: int) -> None:
    """Logs ``steps`` histograms of 1,920 normal values whose deviation shrinks as 10/(i + 1)."""
    with SummaryWriter(logdir=logdir) as sw:
        for i in range(steps):
            # MXNet is still computing it when it is logged; nothing here waits for the values.
            data = mx.nd.random.normal(loc=0, scale=10.0 / (i + 1), shape=(10, 3, 8, 8))
            sw.add_histogram(tag=TAG, values=data, bins=bins, global_step=i)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Log histograms of a normal distribution that grows narrower.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/normal", help="directory of the run")
    parser.add_argument("--steps", type=int, default=10, help="histograms to log")
    parser.add_argument("--bins", type=int, default=200, help="equal-width bins in a histogram")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    options = parser.parse_args(arguments)
    mx.random.seed(options.seed)
    log_distributions(options.logdir, steps=options.steps, bins=options.bins)


if __name__ == "__main__":
    main()
