"""Callbacks for ``Module.fit``: what real training logs, and that it stays the same."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_scalars

mx = pytest.importorskip("mxnet", reason="MXNet is not installed")

from boardd_client.hooks import module as hooks  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

BATCH_SIZE = 8
CLASSES = 3


def fit_module(**callbacks: Any) -> dict[str, np.ndarray]:
    mx.random.seed(3)
    np.random.seed(3)
    hidden = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=6, name="fc1")
    output = mx.sym.FullyConnected(
        mx.sym.Activation(hidden, act_type="tanh"), num_hidden=CLASSES, name="fc2"
    )
    net = mx.mod.Module(mx.sym.SoftmaxOutput(output, name="softmax"), context=mx.cpu())
    net.logger = logging.getLogger("test_hooks_module")
    random = np.random.RandomState(7)
    data = random.randn(5 * BATCH_SIZE, 5).astype(np.float32)
    labels = (data[:, 0] > 0).astype(np.float32) + (data[:, 1] > 0.5)
    training, validation = (mx.io.NDArrayIter(data, labels, BATCH_SIZE) for _ in range(2))
    net.fit(
        training,
        eval_data=validation,
        eval_metric=["acc", "ce"],
        num_epoch=2,
        initializer=mx.init.Xavier(),
        optimizer_params={"learning_rate": 0.1},
        **callbacks,
    )
    return {name: value.asnumpy() for name, value in net.get_params()[0].items()}


def test_module_callbacks(daemon: DaemonProcess, tmp_path: Path) -> None:
    writer = SummaryWriter(str(tmp_path / "logs"), address=daemon.address)
    trained: dict[int, dict[str, float]] = {}
    validated: list[dict[str, float]] = []
    batches = hooks.batch_end_callback(writer, every=2)
    parameters = fit_module(
        # The Speedometer resets what it has shown, which must not change what is logged.
        batch_end_callback=[
            mx.callback.Speedometer(BATCH_SIZE, 1),
            lambda param: trained.update(
                {len(trained): dict(param.eval_metric.get_global_name_value())}
            ),
            batches,
        ],
        eval_end_callback=[
            hooks.eval_end_callback(writer, batches),
            hooks.eval_end_callback(writer, prefix="epochs/"),
            lambda param: validated.append(dict(param.eval_metric.get_name_value())),
        ],
    )
    assert writer.close()
    plain = fit_module()
    for name, values in plain.items():
        np.testing.assert_array_equal(parameters[name], values)

    scalars = read_scalars(tmp_path / "logs")["."]
    metrics = {"accuracy", "cross-entropy"}
    kinds = ("training", "validation", "epochs")
    assert set(scalars) == {f"{kind}/{metric}" for kind in kinds for metric in metrics}
    for metric in metrics:
        # Every second batch, and the last of each epoch of five.
        points = scalars[f"training/{metric}"]
        assert [point.step for point in points] == [0, 2, 4, 6, 8, 9]
        for point in points:
            assert point.value == pytest.approx(trained[point.step][metric], rel=1e-6)
        expected = [epoch[metric] for epoch in validated]
        for kind, steps in (("validation", [4, 9]), ("epochs", [0, 1])):
            points = scalars[f"{kind}/{metric}"]
            assert [point.step for point in points] == steps
            assert [point.value for point in points] == pytest.approx(expected, rel=1e-6)


def test_wrong_arguments(daemon: DaemonProcess, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "logs"), address=daemon.address) as writer:
        with pytest.raises(TypeError, match="batches is a SummaryWriter"):
            hooks.eval_end_callback(writer, writer)
        with pytest.raises(TypeError, match="writer is a str"):
            hooks.batch_end_callback("logs")
        with pytest.raises(ValueError, match="every is 0"):
            hooks.batch_end_callback(writer, every=0)
