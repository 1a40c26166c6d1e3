"""Once the late modules are loaded, no kind of record needs a module from the disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess

TESTS = Path(__file__).resolve().parents[1]


def log_all_kinds(sw: SummaryWriter) -> None:
    """Small and large tensors of several dtypes, since they take other ways."""
    rng = np.random.default_rng(0)
    for step in range(200):
        sw.add_scalar("loss", step, step)
    sw.add_scalars("curves", {"a": 1.0, "b": 2.0}, 1)
    sw.add_scalar_tensor("scalar tensor", 1.0, 1)
    values = rng.standard_normal(100_000)
    for number, dtype in enumerate(("float64", "float32", "float16", "int64", "uint8", "bool")):
        for size in (10, len(values)):
            bins = ("default", 30, "auto", "fd", [-1.0, 0.0, 2.0], "tensorflow")[number]
            array = np.abs(values[:size] * 100).astype(dtype)
            sw.add_histogram(f"histogram {dtype} {size}", array, 1, bins=bins)
    sw.add_histograms({str(one): values[: 10 * one] for one in range(1, 9)}, 1)
    sw.add_histogram_raw("raw", 0.0, 1.0, 2, 1.0, 1.0, [0.5, 1.0], [1, 1], 1)
    sw.add_tensor("tensor", values[:10], 1)
    pixels = rng.random((3, 16, 16), np.float32)
    sw.add_image("image", pixels, 1)
    sw.add_image("normalized", pixels * 9, 1, normalize="batch")
    sw.add_images("images", np.stack([pixels] * 2), 1)
    sw.add_image_with_boxes("boxes", pixels, [[1.0, 1.0, 9.0, 9.0]], 1, labels=["one"])
    sw.add_video("video", np.stack([pixels] * 3)[None], 1)
    sw.add_audio("audio", values[:1000] / 10, global_step=1)
    sw.add_text("text", "*text*", 1)
    sw.add_pr_curve("pr", rng.integers(2, size=100), rng.random(100), global_step=1)
    matrix = values[:4000].reshape(10, 400)
    sw.add_embedding("embedding", matrix, list("0123456789"), np.stack([pixels] * 10), 1)
    sw.add_mesh("mesh", rng.random((1, 9, 3)), global_step=1)
    sw.add_hparams({"lr": 0.1, "kind": "a"}, {"loss": 1.0})
    sw.add_custom_scalars_multilinechart(["loss"])


@pytest.mark.slow
def test_nothing_is_loaded_any_more_once_the_late_modules_are(tmp_path: Path) -> None:
    with DaemonProcess(
        tmp_path,
        module="support.import_telling_daemon",
        environ={"PYTHONPATH": os.fspath(TESTS)},
    ) as daemon:
        started = len(daemon.log)
        for _ in range(2):  # the second finds files
            with SummaryWriter(
                tmp_path / "logs", address=daemon.address, system_metrics=True
            ) as sw:
                log_all_kinds(sw)
                assert sw.flush(timeout=60)
        counters = daemon.status().counters
        assert not counters.rejected
        late = sorted(set(re.findall(r"imports (\S+)", daemon.log[started:])))
        assert not late, "\n".join(late)
