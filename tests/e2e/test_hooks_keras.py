"""The hook for Keras, on each of its backends."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.hparams_page import read_hparams_page
from support.keras_training import BATCH, EPOCHS, ROWS
from support.tensorboard_reader import read_histograms, read_scalars

BATCHES = ROWS // BATCH
SCRIPT = Path(__file__).parents[1] / "support/keras_training.py"


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_training_and_an_evaluation(daemon: DaemonProcess, backend: str) -> None:
    for module in ("keras", backend):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")
    environ = {"KERAS_BACKEND": backend, "BOARDD_ADDRESS": daemon.address}
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(daemon.logdir / "run")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environ},
    )
    assert ended.returncode == 0, ended.stderr
    noted = json.loads(ended.stdout.splitlines()[-1])
    assert noted["backend"] == backend
    history = noted["history"]
    scalars = read_scalars(daemon.logdir)
    for run, prefix in (("run/train", ""), ("run/validation", "val_")):
        for metric in ("loss", "mae"):
            points = scalars[run][f"epoch_{metric}"]
            assert [point.step for point in points] == list(range(EPOCHS))
            assert [point.value for point in points] == pytest.approx(history[prefix + metric])
    rates = scalars["run/train"]["epoch_learning_rate"]
    assert [point.value for point in rates] == pytest.approx([0.01] * EPOCHS)

    batches = BATCHES * EPOCHS
    points = scalars["run/train"]["batch_loss"]
    assert [point.step for point in points] == list(range(1, batches + 1))
    assert [point.value for point in points] == pytest.approx(noted["losses"][:batches])
    points = scalars["run/every second/train"]["batch_loss"]
    assert [point.step for point in points] == list(range(2, ROWS * EPOCHS + 1, 2))
    assert [point.value for point in points] == pytest.approx(noted["losses"][batches + 1 :: 2])
    evaluated = scalars["run/every second/validation"]["evaluation_loss_vs_iterations"]
    assert [point.step for point in evaluated] == [ROWS * EPOCHS]

    weights = read_histograms(daemon.logdir)["run/train"][f"{noted['path']}/histogram"]
    assert [point.step for point in weights] == list(range(EPOCHS))
    low, high = np.min(noted["weight"]), np.max(noted["weight"])
    buckets = weights[-1].buckets
    assert buckets[:, 2].sum() == len(noted["weight"])
    assert buckets[0, 0] == pytest.approx(low)
    assert buckets[-1, 1] == pytest.approx(high)
    row = read_hparams_page(daemon.logdir)["run/train"]
    assert row.hparams == {"rate": 0.01, "sizes": "[5, 1]"}
