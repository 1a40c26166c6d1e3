"""Data-parallel training with PyTorch DDP in several processes, merged into one run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.examples import EXAMPLES, require_packages, run_command
from support.merged_job import MergedJob
from support.tensorboard_reader import LOADERS, Loader

pytestmark = pytest.mark.slow

RUN = "ddp"
RANKS = 3
STEPS = 21
HISTOGRAM_STEPS = 10
GRADIENTS = [f"gradients/{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
SCRIPT = str(EXAMPLES / "torch_ddp.py")
LAUNCHERS = {
    "spawn": (sys.executable, SCRIPT, "--workers", str(RANKS)),
    "torchrun": (
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", f"--nproc-per-node={RANKS}", SCRIPT),
    ),
}


@pytest.fixture(scope="module", params=LAUNCHERS)
def job(request: pytest.FixtureRequest) -> Iterator[MergedJob]:
    """The example, run once by each launcher; the daemon has ended after it."""
    require_packages("torch", "sklearn", "tensorboard")
    with tempfile.TemporaryDirectory() as directory:
        dump = Path(directory) / "dump"
        with DaemonProcess(Path(directory)) as daemon:
            done = run_command(
                *LAUNCHERS[request.param],
                *("--logdir", str(daemon.logdir / RUN), "--dump", str(dump)),
                *("--steps", str(STEPS)),
                address=daemon.address,
                OMP_NUM_THREADS="1",
            )
        assert done.stdout.count(f"in step {STEPS - 1}\n") == RANKS
        job = MergedJob.load(daemon.logdir, RUN, dump, histogram_steps=HISTOGRAM_STEPS)
        assert len(job.ranks) == RANKS
        yield job


@pytest.mark.parametrize("loader", LOADERS)
def test_the_loss_is_the_mean_of_all_ranks_between_its_extremes(
    job: MergedJob, loader: Loader
) -> None:
    losses = job.values("loss")
    assert losses.shape == (STEPS, RANKS)
    assert (losses.min(axis=1) < losses.max(axis=1)).all(), "each learns from digits of its own"
    assert losses[-5:].mean() < losses[:5].mean(), "they learn"
    job.check_curves("loss", loader)
    job.check_that_all_ranks_made_every_point(loader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("tag", GRADIENTS)
def test_a_gradient_s_histogram_counts_the_values_of_all_ranks(
    job: MergedJob, tag: str, loader: Loader
) -> None:
    gradients = job.values(tag)
    assert len(gradients) == len(range(0, STEPS, HISTOGRAM_STEPS))
    assert (gradients[:, 0] != gradients[:, 1]).any(), "each rank's own, before they are averaged"
    job.check_histograms(tag, loader)
