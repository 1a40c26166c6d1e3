"""Data-parallel training with MXNet's kvstore in several processes, merged into one run.

It is merged as if its daemon had not been killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import processes
from support.daemon_process import DaemonProcess
from support.examples import EXAMPLES, require_packages
from support.merged_job import MergedJob
from support.tensorboard_reader import LOADERS, Loader
from support.waiting import wait_until

pytestmark = pytest.mark.slow

RUN = "dist_sync"
WORKERS = 3
STEPS = 124
HISTOGRAM_STEPS = 10
GRADIENTS = [f"gradients/mnist_dense{i}_{kind}" for i in range(3) for kind in ("weight", "bias")]
START_SECS = 180.0  #: on a busy machine MXNet alone takes a minute
END_SECS = 60.0
#: In the environment of every process of a job.
JOB_VARIABLE = "BOARDD_TEST_JOB"


@pytest.fixture(scope="module")
def job() -> Iterator[MergedJob]:
    """The example, run once with few workers and steps, whose daemon is killed on the way.

    The second daemon has ended after it.
    """
    require_packages("mxnet", "mlxtend", "tensorboard")
    with tempfile.TemporaryDirectory() as directory:
        dump = Path(directory) / "dump"
        with DaemonProcess(Path(directory)) as killed:
            run = killed.logdir / RUN
            with subprocess.Popen(
                [
                    *(sys.executable, str(EXAMPLES / "mxnet_dist_sync.py"), "--steps", str(STEPS)),
                    *("--workers", str(WORKERS), "--logdir", str(run), "--dump", str(dump)),
                ],
                env={**os.environ, "BOARDD_ADDRESS": killed.address, "BOARDD_AUTOSTART": "0"},
                stdout=subprocess.PIPE,
                text=True,
            ) as training:
                wait_until(lambda: any(run.glob("events.out.tfevents.*")), "a point", START_SECS)
                killed.kill()
                with DaemonProcess(Path(directory), socket=killed.socket):
                    printed, _ = training.communicate(timeout=START_SECS)
                    assert training.returncode == 0
        assert printed.count(f"in step {STEPS - 1}\n") == WORKERS
        job = MergedJob.load(killed.logdir, RUN, dump, histogram_steps=HISTOGRAM_STEPS)
        assert len(job.ranks) == WORKERS
        yield job


@pytest.mark.parametrize("loader", LOADERS)
def test_the_loss_is_the_mean_of_all_workers_between_its_extremes(
    job: MergedJob, loader: Loader
) -> None:
    losses = job.values("loss")
    assert losses.shape == (STEPS, WORKERS, 1)
    assert (losses.min(axis=1) < losses.max(axis=1)).all(), "each learns from digits of its own"
    assert losses[-5:].mean() < 0.8 * losses[:5].mean(), "they learn"
    job.check_curves("loss", loader)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_job_whose_daemon_is_killed_is_merged_as_if_it_were_not(
    job: MergedJob, loader: Loader
) -> None:
    job.check_that_all_ranks_made_every_point(loader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("tag", GRADIENTS)
def test_a_gradient_s_histogram_counts_the_values_of_all_workers(
    job: MergedJob, tag: str, loader: Loader
) -> None:
    assert len(job.values(tag)) == len(range(0, STEPS, HISTOGRAM_STEPS))
    job.check_histograms(tag, loader)


def processes_of(job: str) -> list[processes.Process]:
    return [each for each in processes.processes() if each.environ.get(JOB_VARIABLE) == job]


@pytest.mark.parametrize("victim", ["launcher", "worker"])
def test_a_job_of_which_one_was_killed_leaves_no_process(
    daemon: DaemonProcess, victim: str
) -> None:
    require_packages("mxnet", "mlxtend")
    job = uuid.uuid4().hex
    with subprocess.Popen(
        [
            *(sys.executable, str(EXAMPLES / "mxnet_dist_sync.py")),
            *("--logdir", str(daemon.logdir / RUN), "--workers", "2", "--steps", "1000000"),
        ],
        env={**os.environ, JOB_VARIABLE: job, "BOARDD_ADDRESS": daemon.address},
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        try:
            runs = [daemon.logdir / RUN / f"rank_{worker}" for worker in range(2)]
            wait_until(lambda: all(run.exists() for run in runs), "both workers' runs", START_SECS)
            victims = {"launcher": launcher.pid}
            for process in processes_of(job):
                if process.environ.get("DMLC_ROLE") == "worker":
                    victims["worker"] = process.pid
            os.kill(victims[victim], signal.SIGKILL)
            assert launcher.stderr is not None
            told = launcher.stderr.read()
            if victim == "worker":
                assert launcher.wait(END_SECS) == 1
                assert f"process {victims['worker']} of the job failed" in told
            wait_until(lambda: not processes_of(job), "the end of all processes", END_SECS)
            daemon.wait_closed(END_SECS)
        finally:
            for process in processes_of(job):
                processes.end(process, grace_secs=0)
