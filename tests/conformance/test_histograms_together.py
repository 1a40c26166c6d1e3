"""``add_histograms`` shows in both of TensorBoard's loaders what single calls show."""

from __future__ import annotations

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, HistogramPoint, open_reader

RANDOM = np.random.default_rng(5)
VALUES = {
    "w/float32": RANDOM.normal(size=(30, 20)).astype(np.float32),
    "w/float64": RANDOM.normal(size=700),
    "w/int16": RANDOM.integers(-9, 9, 100, np.int16),
    "w/one": np.full(5, 3.0, np.float32),
    "w/empty": np.empty(0, np.float32),
    "w/nan": np.array([1.0, np.nan, np.inf, 2.0], np.float32),
    "w/large": RANDOM.normal(size=400_000).astype(np.float32),
}


@pytest.mark.usefixtures("transport")
def test_what_is_shown_is_what_single_calls_show(daemon: DaemonProcess) -> None:
    with SummaryWriter(daemon.logdir / "together", address=daemon.address) as sw:
        for step, bins in enumerate((30, "default", [-1.0, 0.0, 2.0], "auto")):
            sw.add_histograms(VALUES, step, bins=bins, walltime=1e9 + step)
        assert sw.flush(timeout=60)
        assert sw.statistics().accepted == 2 * 4
    with SummaryWriter(daemon.logdir / "single", address=daemon.address) as sw:
        for step, bins in enumerate((30, "default", [-1.0, 0.0, 2.0], "auto")):
            for tag, values in VALUES.items():
                sw.add_histogram(tag, values, step, bins=bins, walltime=1e9 + step)
        assert sw.flush(timeout=60)
    for loader in LOADERS:
        with open_reader(daemon.logdir, loader) as reader:
            shown = {run: flat(series) for run, series in reader.histograms().items()}
            assert set(shown["together"]) == set(VALUES)
            assert shown["together"] == shown["single"]
            scalars = reader.scalars()
            assert set(scalars["together"]) == {"w/nan/nan", "w/nan/positive_infinity"}
            assert scalars["together"] == scalars["single"]


def flat(series: dict[str, list[HistogramPoint]]) -> dict[str, list[tuple[int, float, bytes]]]:
    return {
        tag: [(point.step, point.wall_time, point.buckets.tobytes()) for point in points]
        for tag, points in series.items()
    }
