"""Training with TensorFlow: what TensorBoard reads of its variables, gradients and losses."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_histograms, read_scalars
from support.transports import check_transport

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, at import
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow", exc_type=ImportError)

BINS = 11


def counts(values: np.ndarray) -> list[int]:
    return np.histogram(values.astype(np.float64), bins=BINS)[0].tolist()


def test_a_step_logs_what_it_was_called_with(
    daemon: DaemonProcess, tmp_path: Path, transport: str
) -> None:
    writer = SummaryWriter(str(tmp_path / "logs"), address=daemon.address)
    weight = tf.Variable(tf.random.stateless_normal((20, 3), seed=(1, 2)))
    optimizer = tf.keras.optimizers.SGD(0.1)

    @tf.function
    def train(data):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((data @ weight) ** 2)
        return loss, tape.gradient(loss, weight)

    losses, weights, gradients = [], [], []
    for step in range(5):
        loss, gradient = train(tf.random.stateless_normal((8, 20), seed=(step, 3)))
        writer.add_scalar("loss", loss, step)
        writer.add_histogram("weight", weight, step, bins=BINS)
        writer.add_histogram("gradient", gradient, step, bins=BINS)
        losses.append(float(loss))
        weights.append(counts(weight.numpy()))
        gradients.append(counts(gradient.numpy()))
        optimizer.apply_gradients([(gradient, weight)])
    assert writer.flush(timeout=60)
    check_transport(transport, writer, daemon)
    assert writer.close()
    points = read_scalars(tmp_path / "logs")["."]["loss"]
    assert [point.value for point in points] == pytest.approx(losses)
    found = read_histograms(tmp_path / "logs")["."]
    for tag, expected in (("weight", weights), ("gradient", gradients)):
        assert [point.step for point in found[tag]] == list(range(5))
        assert [point.buckets[:, 2].astype(int).tolist() for point in found[tag]] == expected
    assert weights[0] != weights[4]
