"""The hook for Ray Tune: each trial is a run, with its hyperparameters."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.hparams_page import read_hparams_page
from support.tensorboard_reader import (
    event_files,
    read_histograms,
    read_images,
    read_scalars,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, at import
    pytest.importorskip("ray", reason="needs ray", exc_type=ImportError)
    import ray
    from boardd_client.hooks.ray import BoarddLoggerCallback
    from ray import tune

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's advice

ITERATIONS = 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster of one process; its directory has a name short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        monkeypatch.setenv(name, "0")
    try:
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=directory,
        )
        yield Path(directory)
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def trainable(iterations: int) -> Callable[[dict[str, Any]], None]:
    """A function that Ray sends to its workers as it is, since they cannot import this module."""

    def train(config: dict[str, Any]) -> None:
        for number in range(1, iterations + 1):
            tune.report(
                {
                    "loss": config["rate"] / number,
                    "nested": {"accuracy": 0.25 * number},
                    "values": [0.0, 1.0, 2.0],
                    "image": np.zeros((3, 4, 4), np.uint8),
                    "zero_d": np.array(0.5),
                    "one": np.array([0.25]),
                    "nothing": [],
                    "note": "not shown",
                }
            )

    return train


class StoppedDuringTrials(BoarddLoggerCallback):
    """Stops the daemon until a trial has ended: what is not waited for is not written yet."""

    def __init__(self, daemon: DaemonProcess, logdir: Path | None) -> None:
        super().__init__(logdir, address=daemon.address)
        self.pid = daemon.pid

    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        super().log_trial_result(iteration, trial, result)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        threading.Timer(1.0, os.kill, (self.pid, signal.SIGCONT)).start()
        super().log_trial_end(trial, failed)


def test_each_trial_is_a_run_with_its_hyperparameters(cluster: Path, tmp_path: Path) -> None:
    """In a directory of ours, and in those of the trials, which the daemon is told of."""
    rates = [0.5, 0.25]
    with DaemonProcess(tmp_path, "--logdir-root", str(cluster)) as daemon:
        for logdir in (daemon.logdir, None):
            space = {"rate": tune.grid_search(rates), "model": {"sizes": tune.choice([[5, 1]])}}
            callback = StoppedDuringTrials(daemon, logdir)
            results = tune.Tuner(
                tune.with_resources(trainable(ITERATIONS), {"cpu": 1}),
                param_space=space if logdir else {**space, "rate": tune.grid_search(rates[:1])},
                run_config=tune.RunConfig(
                    name="tried", storage_path=str(tmp_path / "results"), callbacks=[callback]
                ),
            ).fit()
            assert not results.errors
            assert not callback._writers
            for result in results:
                directory = Path(result.path)
                if logdir is None:  # nor has Ray's own callback written there
                    assert len(event_files(directory)) == 1
                    assert "ray/tune/loss" in read_scalars(directory)["."]
                else:
                    assert not list(directory.glob("events*"))
        check(daemon.logdir, rates)


def check(logdir: Path, rates: list[float]) -> None:
    scalars = read_scalars(logdir)
    rows = read_hparams_page(logdir)
    assert sorted(row.hparams["rate"] for row in rows.values()) == sorted(rates)
    assert set(rows) == set(scalars)
    for run, row in rows.items():
        rate = row.hparams["rate"]
        assert row.hparams["model/sizes"] == "[5, 1]"
        assert row.metrics["ray/tune/nested/accuracy"] == 0.25 * ITERATIONS
        points = scalars[run]["ray/tune/loss"]
        assert [(point.step, point.value) for point in points] == [
            (number, pytest.approx(rate / number)) for number in range(1, ITERATIONS + 1)
        ]
        assert [point.value for point in scalars[run]["ray/tune/zero_d"]] == [0.5] * ITERATIONS
        assert [point.value for point in scalars[run]["ray/tune/one"]] == [0.25] * ITERATIONS
        histograms = read_histograms(logdir)[run]["ray/tune/values"]
        assert [point.buckets[:, 2].sum() for point in histograms] == [3] * ITERATIONS
        assert len(read_images(logdir)[run]["ray/tune/image"]) == ITERATIONS
