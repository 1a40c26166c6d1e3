"""Logs what every version of the client can log, in two halves between which daemons change.

    python version_trip.py LOGDIR ADDRESS

When the first half is written, it waits for a line with a further address. The second half goes
to both. The runs are ``LOGDIR/first`` and ``LOGDIR/second``, and ``LOGDIR/ranks`` of two ranks. Run
as a script, by interpreters that have another version installed.
"""

from __future__ import annotations

import json
import sys

import numpy as np

#: A daemon compiles its kernels in that time, on a busy machine.
FLUSH_SECS = 240.0

#: Of each half.
STEPS = 50
SCALAR_TAG = "loss"
HISTOGRAM_TAG = "weights"
TOGETHER_TAGS = ("layer/bias", "layer/kernel")
IMAGE_TAG = "digit"
TEXT_TAG = "notes"
TEXT = "Trained with **both** versions."
#: What only 0.2.0 shows as it is.
GIVEN_TAG, CLEANED_TAG = "acc (a)", "acc__a_"
EXACT_TAG = "exact"
BINS = 30
TRIAL = "trial"
HPARAMS = {"lr": 0.125, "optimizer": "sgd"}
METRICS = {"accuracy": 0.75}


def values(half: int) -> np.ndarray:
    """300,000 float32 in [-1, 1], enough to travel in several messages."""
    return np.sin(np.arange(300_000, dtype=np.float64) * (half + 1)).astype(np.float32)


def small(half: int) -> np.ndarray:
    """10 float32."""
    return np.arange(10, dtype=np.float32) + half


def image() -> np.ndarray:
    """An RGB image of 8x8 pixels, uint8, as CHW."""
    return (np.arange(3 * 8 * 8) % 256).astype(np.uint8).reshape(3, 8, 8)


def log_half(sw, half: int) -> None:  # type: ignore[no-untyped-def]  # of any version
    """Logs scalars at all steps of the half, and one of everything at its first."""
    first = half * STEPS
    for step in range(first, first + STEPS):
        sw.add_scalar(SCALAR_TAG, 1.0 / (1 + step), step)
    sw.add_histogram(HISTOGRAM_TAG, values(half), first, bins=BINS)
    sw.add_image(IMAGE_TAG, image(), first)
    sw.add_text(TEXT_TAG, TEXT, first)
    sw.add_hparams(HPARAMS, METRICS, f"{TRIAL}_{half}", first)
    wait_written(sw)


def log_newer(sw, half: int) -> None:  # type: ignore[no-untyped-def]
    """Logs what 0.1.0 does not have.

    Several histograms in one call, a scalar that is a tensor, and a tag that is kept as it is.
    """
    if hasattr(sw, "add_histograms"):
        sw.add_histograms(dict.fromkeys(TOGETHER_TAGS, small(half)), half * STEPS, bins=BINS)
        sw.add_scalar_tensor(EXACT_TAG, 0.5 + half, half * STEPS)
        sw.add_scalar(GIVEN_TAG, 0.25, half * STEPS)


def log_ranks(writers, half: int) -> None:  # type: ignore[no-untyped-def]
    """Logs one scalar and one text of each rank."""
    for rank, sw in enumerate(writers):
        sw.add_scalar(SCALAR_TAG, float(rank), half * STEPS)
        sw.add_text(TEXT_TAG, f"{TEXT} {rank}", half * STEPS)
    for sw in writers:
        wait_written(sw)


def wait_written(sw) -> None:  # type: ignore[no-untyped-def]
    """Waits until all is written. Ends the script with the reason if it cannot be."""
    flushed = sw.flush(FLUSH_SECS)
    if not flushed:
        sys.exit(f"not written: {flushed}, {sw.statistics()}")


def main(logdir: str, address: str) -> None:
    """Reports, as a line of JSON for each half, the version and each writer's statistics."""
    from boardd_client import SummaryWriter, __version__

    options = {"keep_tags": True} if hasattr(SummaryWriter, "add_histograms") else {}
    writers = {"first": SummaryWriter(f"{logdir}/first", address=address, **options)}
    ranks = [
        SummaryWriter(f"{logdir}/ranks", address=address, rank=rank, world_size=2)
        for rank in range(2)
    ]
    for half in range(2):
        report: dict[str, object] = {"version": __version__}
        for run, sw in writers.items():
            # Either before anything is known of the daemon, or once it has answered.
            is_new = not sw.statistics().accepted
            for log in (log_newer, log_half) if is_new else (log_half, log_newer):
                log(sw, half)
            wait_written(sw)
            statistics = sw.statistics()
            report[run] = {
                name: getattr(statistics, name)
                for name in ("transport", "accepted", "written", "pending")
            }
        log_ranks(ranks, half)
        print(json.dumps(report), flush=True)
        if half == 0:
            further = sys.stdin.readline().strip()
            writers["second"] = SummaryWriter(f"{logdir}/second", address=further, **options)
    for sw in (*writers.values(), *ranks):
        sw.close(FLUSH_SECS)


if __name__ == "__main__":
    main(*sys.argv[1:])
