"""One of several workers is slow: the group's curves and its table say which."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.examples import require_packages, run_example
from support.tensorboard_reader import LOADERS, Loader, open_reader

pytestmark = pytest.mark.slow

RUN = "straggler"
WORKERS = 4
SLOW_RANK = 2
SLOW_FROM = 20
STEPS = 60
FACTOR = 4
WORK_SECS = 0.02


@pytest.fixture(scope="module")
def logdir() -> Iterator[Path]:
    """What the example wrote in one run of it."""
    require_packages("tensorboard")
    with tempfile.TemporaryDirectory() as directory:
        with DaemonProcess(Path(directory)) as daemon:
            run_example(
                "straggler.py",
                *("--logdir", str(daemon.logdir / RUN), "--workers", str(WORKERS)),
                *("--slow-rank", str(SLOW_RANK), "--slow-from", str(SLOW_FROM)),
                *("--steps", str(STEPS), "--factor", str(FACTOR)),
                address=daemon.address,
            )
        yield daemon.logdir


@pytest.mark.parametrize("loader", LOADERS)
def test_the_spread_of_arrivals_rises_as_soon_as_a_rank_is_slow(
    logdir: Path, loader: Loader
) -> None:
    with open_reader(logdir, loader) as reader:
        spreads = reader.scalars()[RUN]["boardd/group/arrival_spread_secs"]
    assert [point.step for point in spreads] == list(range(STEPS))
    values = np.array([point.value for point in spreads])
    assert np.median(values[:SLOW_FROM]) < np.median(values[SLOW_FROM:])
    assert np.median(values[SLOW_FROM:]) > (0.8 * FACTOR - 1.2) * WORK_SECS
