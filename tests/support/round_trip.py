"""Logs one of everything through the client, using no package but the client's own.

    python round_trip.py ADDRESS LOGDIR

Run as a script, by interpreters that have neither pytest nor this package.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

FLUSH_SECS = 60.0

STEPS = 100
SCALAR_TAG = "loss"
ARRAY_SCALAR_TAG = "accuracy"
HISTOGRAM_TAG = "weights"
EDGES_TAG = "weights_in_edges"
IMAGE_TAG = "digits"
BINS = 30
EDGES = (-1.0, 0.0, 0.25, 1.0)


def scalar(step: int) -> float:
    return 1.0 / (1 + step)


def values() -> np.ndarray:
    """1,000,000 float32 in [-1, 1], enough to travel in several messages."""
    return np.sin(np.arange(1_000_000, dtype=np.float64)).astype(np.float32)


def images() -> np.ndarray:
    """Four RGB images of 8x8 pixels, float32 in [0, 1]."""
    count = 4 * 3 * 8 * 8
    return (np.arange(count, dtype=np.float32) / count).reshape(4, 3, 8, 8)


def main(address: str, logdir: str) -> None:
    # A deprecation in a dependency, old or new, is news but no failure here.
    warnings.simplefilter("default")
    from boardd_client import SummaryWriter

    with SummaryWriter(logdir, address=address) as sw:
        for step in range(STEPS):
            sw.add_scalar(SCALAR_TAG, scalar(step), step)
        sw.add_scalar(ARRAY_SCALAR_TAG, np.array([0.5], dtype=np.float32), 7)
        sw.add_histogram(HISTOGRAM_TAG, values(), 1, bins=BINS)
        sw.add_histogram(EDGES_TAG, values(), 2, bins=list(EDGES))
        sw.add_image(IMAGE_TAG, images(), 3)
        flushed = sw.flush(FLUSH_SECS)
    if not flushed:
        sys.exit(f"not written: {flushed}")
    foreign = {"mxnet", "torch", "jax", "tensorflow", "boardd"} & set(sys.modules)
    print(json.dumps({"numpy": np.__version__, "foreign": sorted(foreign)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
