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


@pytest.mark.parametrize("loader", LOADERS)
def test_the_table_of_ranks_names_the_one_that_came_last(logdir: Path, loader: Loader) -> None:
    with open_reader(logdir, loader) as reader:
        told = reader.tensors("text")[RUN]["boardd/group"][-1]
    header, _, *rows = told.array.reshape(-1)[0].decode().splitlines()
    names = cells(header)
    ranks = [dict(zip(names, cells(row), strict=True)) for row in rows]
    assert [rank["rank"] for rank in ranks] == [str(rank) for rank in range(WORKERS)]
    assert {rank["last step"] for rank in ranks} == {str(STEPS - 1)}
    came_last = [int(rank["came last"]) for rank in ranks]
    assert came_last[SLOW_RANK] > 0.9 * (STEPS - SLOW_FROM)
    assert came_last.index(max(came_last)) == SLOW_RANK


@pytest.mark.parametrize("loader", LOADERS)
def test_the_maximum_shows_that_one_is_slow_when_the_steps_of_all_are(
    logdir: Path, loader: Loader
) -> None:
    with open_reader(logdir, loader) as reader:
        scalars = reader.scalars()
    slow = {
        (run, tag): np.median([point.value for point in scalars[run][tag][SLOW_FROM:]])
        for run in (f"{RUN}/min", RUN, f"{RUN}/max")
        for tag in ("work_secs", "step_secs")
    }
    assert slow[f"{RUN}/max", "work_secs"] > 1.5 * slow[RUN, "work_secs"]
    assert slow[f"{RUN}/min", "step_secs"] > 2 * slow[f"{RUN}/min", "work_secs"]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
