"""What ``watch(health=True)`` shows in TensorBoard, over both transports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.hooks.health import layout
from boardd_client.hooks.watch import Watch
from support.daemon_process import DaemonProcess
from support.service_reading import events_of
from support.tensorboard_reader import read_scalars

STEPS = 4
NAN_STEP = 2


def test_norms_zeros_and_the_first_nan_are_shown(
    transport: str, daemon: DaemonProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(3)
    logged: list[dict[str, np.ndarray]] = []

    def tensors() -> Iterator[tuple[str, Any]]:
        step = {
            "a/parameters/one.weight": random.normal(size=(30, 20)).astype(np.float32),
            "a/gradients/one.weight": random.normal(size=(30, 20)).astype(np.float32),
            "a/parameters/one.bias": np.zeros(20),
            "a/gradients/one.bias": random.normal(size=20),
        }
        if len(logged) == NAN_STEP:
            step["a/gradients/one.bias"][3] = np.nan
        logged.append(step)
        yield from step.items()

    logdir = tmp_path / "logs"
    with SummaryWriter(logdir, address=daemon.address) as sw:
        watched = Watch(sw, tensors, every=1, bins=10, initial_step=0, prefix="a/", health=True)
        for _ in range(STEPS):
            watched.count()
        assert sw.flush(timeout=60)
    (shown,) = read_scalars(logdir, "python").values()
    for step, arrays in enumerate(logged):
        for group in ("gradients", "parameters"):
            own = {name: one for name, one in arrays.items() if f"/{group}/" in name}
            every = np.concatenate([one.reshape(-1) for one in own.values()])
            finite = every[np.isfinite(every)]
            begin = f"a/health/{group}"
            value = {tag: shown[tag][step].value for tag in shown if tag.startswith(begin)}
            assert {shown[tag][step].step for tag in value} == {step}
            assert value[f"{begin}/norm"] == pytest.approx(np.linalg.norm(finite))
            assert value[f"{begin}/zeros"] == pytest.approx((every == 0).mean())
            assert value[f"{begin}/nan"] == np.isnan(every).sum()
            assert value[f"{begin}/infinite"] == 0
            for name, array in own.items():
                norm = np.linalg.norm(array[np.isfinite(array)])
                short = name.rpartition("/")[2]
                assert value[f"{begin}/log10_norm/{short}"] == pytest.approx(
                    np.log10(norm) if norm else -45
                )
                assert value[f"{begin}/zeros/{short}"] == pytest.approx((array == 0).mean())
    (file,) = logdir.glob("*tfevents*")
    texts = [
        (event.step, value.tensor.string_val[0].decode())
        for event in events_of(file)
        for value in event.summary.value
        if value.tag == "a/health/first_nan"
    ]
    ((step, text),) = texts
    assert step == NAN_STEP
    assert "`gradients/one.bias`: 1 NaN and 0 infinite of 20 elements" in text
    told = "first NaN or infinity is at step 2 in gradients/one.bias"
    assert told in daemon.log
    assert len([line for line in caplog.messages if told in line]) == 1
    tags = {value.tag for event in events_of(file) for value in event.summary.value}
    assert "custom_scalars__config__" in tags


def test_the_charts_show_series_of_their_own_prefix_alone() -> None:
    charts = layout("a/health")
    chart = charts["log10 of norms of gradients"][1]
    assert re.match(chart[0], "a/health/gradients/log10_norm/one.weight")
    assert not re.match(chart[0], "a/health/gradients/log10_norm")
    assert not re.match(chart[0], "b/health/gradients/log10_norm/one.weight")


def test_each_rank_has_its_health_in_its_own_run(daemon: DaemonProcess, tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    ranks = [
        SummaryWriter(logdir, address=daemon.address, rank=rank, world_size=2) for rank in range(2)
    ]
    for rank, sw in enumerate(ranks):
        own = np.array([3.0, 4.0, 0.0, 0.0]) * (rank + 1)
        watched = Watch(
            sw,
            lambda own=own: [("gradients/w", own)],
            every=1,
            bins=4,
            initial_step=0,
            health=True,
        )
        watched.count()
        watched.count()
    for sw in ranks:
        assert sw.close()
        assert not sw.statistics().rejected
    for rank in range(2):
        shown = read_scalars(logdir, "python")[f"rank_{rank}"]
        norm = 5.0 * (rank + 1)
        assert [(one.step, one.value) for one in shown["health/gradients/norm"]] == [
            (0, norm),
            (1, norm),
        ]
        assert [one.value for one in shown["health/gradients/zeros/w"]] == [0.5, 0.5]
        (file,) = (logdir / f"rank_{rank}").glob("*tfevents*")
        tags = {value.tag for event in events_of(file) for value in event.summary.value}
        assert "gradients/w" not in tags
