"""Hooks for Gluon: what real training logs through them, and that it stays the same."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, Loader, read_histograms, read_scalars
from support.watched_network import BINS, Arrays, check_health, check_histograms, logged

mx = pytest.importorskip("mxnet", reason="MXNet is not installed")

from boardd_client.hooks import gluon as hooks  # noqa: E402
from mxnet.gluon.contrib import estimator as estimators  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

BATCH_SIZE = 8
FEATURES = 5
CLASSES = 3
CALL_SECS = 0.02
ATTEMPTS = 6


@pytest.fixture
def writer(daemon: DaemonProcess, tmp_path: Path) -> SummaryWriter:
    return SummaryWriter(str(tmp_path / "logs"), address=daemon.address)


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(7)
    data = random.randn(count, FEATURES).astype(np.float32)
    return data, (data[:, 0] > 0).astype(np.float32) + (data[:, 1] > 0.5)


def network(*, contexts: Any = None, seed: int = 3) -> Any:
    mx.random.seed(seed)
    np.random.seed(seed)
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(6, activation="relu"), mx.gluon.nn.BatchNorm())
        net.add(mx.gluon.nn.Dropout(0.2), mx.gluon.nn.Dense(CLASSES))
    net.initialize(mx.init.Xavier(), ctx=contexts or mx.cpu())
    return net


def arrays(net: Any) -> tuple[Arrays, Arrays]:
    """All parameters and gradients, as they are now."""
    parameters = net.collect_params()
    gradients = {
        name: item.list_grad()[0].asnumpy()
        for name, item in parameters.items()
        if item.grad_req != "null"
    }
    return {name: item.list_data()[0].asnumpy() for name, item in parameters.items()}, gradients


def train(
    net: Any,
    steps: int,
    *,
    after_step: Callable[[], None] = lambda: None,
    trainer: Any = None,
    contexts: Any = (),
) -> list[tuple[Arrays, Arrays]]:
    """Trains as users do; returns the arrays after each step."""
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    if trainer is None:
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    contexts = list(contexts) or [mx.cpu()]
    data, labels = samples(steps * BATCH_SIZE)
    states = []
    for step in range(steps):
        batch = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
        parts = [
            mx.gluon.utils.split_and_load(mx.nd.array(item[batch]), contexts)
            for item in (data, labels)
        ]
        with mx.autograd.record():
            losses = [loss_of(net(x), y) for x, y in zip(*parts, strict=True)]
        mx.autograd.backward(losses)
        trainer.step(BATCH_SIZE)
        after_step()
        states.append(arrays(net))
    return states


@pytest.mark.parametrize("hybridize", [False, True])
def test_a_watched_block(writer: SummaryWriter, logdir: Path, hybridize: bool) -> None:
    net = network()
    net.hybridize(active=hybridize)
    plain = train(net, 5)
    net = network()  # seeds MXNet's random numbers anew, those of Dropout too
    net.hybridize(active=hybridize)
    handle = hooks.watch(net, writer, every=2, bins=BINS)
    states = train(net, 5)
    assert handle.next_step == 5
    assert writer.close()
    check_histograms(logdir, states, [0, 2, 4])
    for watched, unwatched in zip(states, plain, strict=True):
        for one, other in zip(watched, unwatched, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("loader", LOADERS)
def test_tensorboard_shows_a_gradient(writer: SummaryWriter, logdir: Path, loader: Loader) -> None:
    net = network()
    hooks.watch(net, writer, every=3, bins=BINS)
    states = train(net, 4)
    assert writer.close()
    points = read_histograms(logdir, loader)["."]["gradients/net_dense1_weight"]
    assert [point.step for point in points] == [0, 3]
    for point in points:
        counts, _ = np.histogram(states[point.step][1]["net_dense1_weight"], bins=BINS)
        assert point.buckets[:, 2].astype(int).tolist() == counts.tolist()


def test_a_trainer_made_before_the_watch(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    with hooks.watch(net, writer, every=1, gradients=False, prefix="a/", bins=BINS):
        net.hybridize()  # MXNet warns here about hooks of the Block: there are none
        train(net, 2, trainer=trainer)
    train(net, 1, trainer=trainer)
    assert "step" not in vars(trainer)
    assert "update" not in vars(trainer)
    assert writer.close()
    found = logged(logdir)
    assert set(found) == {f"a/parameters/{name}" for name in net.collect_params()}
    assert all(list(points) == [0, 1] for points in found.values())


def test_several_devices(writer: SummaryWriter, logdir: Path) -> None:
    contexts = [mx.cpu(0), mx.cpu(1)]
    net = network(contexts=contexts)
    trainer = mx.gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": 0.1}, update_on_kvstore=False
    )
    hooks.watch(net, writer, every=1, bins=BINS)
    states = train(net, 3, trainer=trainer, contexts=contexts)
    assert writer.close()
    check_histograms(logdir, states, [0, 1, 2])


def test_allreduce_and_update_count_once_and_accumulated_gradients_count_by_update(
    writer: SummaryWriter, logdir: Path
) -> None:
    net = network()
    net.collect_params().setattr("grad_req", "add")
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    handle = hooks.watch(net, writer, every=1, parameters=False, bins=BINS)
    data, labels = samples(4 * BATCH_SIZE)
    expected = []
    for step in range(2):
        for part in range(2):
            batch = slice((2 * step + part) * BATCH_SIZE, (2 * step + part + 1) * BATCH_SIZE)
            with mx.autograd.record():
                output = net(mx.nd.array(data[batch]))
                loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(output, mx.nd.array(labels[batch]))
            loss.backward()
        trainer.allreduce_grads()
        trainer.update(2 * BATCH_SIZE)
        expected.append(arrays(net)[1]["net_dense0_weight"])
        net.collect_params().zero_grad()
    assert handle.next_step == 2
    assert writer.close()
    points = logged(logdir)["gradients/net_dense0_weight"]
    for step, values in enumerate(expected):
        assert list(points[step].bucket) == np.histogram(values, bins=BINS)[0].tolist()


def test_steps_counted_by_hand(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    handle = hooks.watch(net, writer, every=2, bins=BINS, initial_step=10)
    # With a Trainer too, a step is one step.
    states = train(net, 4, after_step=handle.step)
    assert handle.next_step == 14
    handle.remove()
    handle.step()
    assert writer.close()
    check_histograms(logdir, states, [10, 12], initial_step=10)


def test_two_watches_on_one_trainer(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    first = hooks.watch(net, writer, every=1, gradients=False, prefix="first/", bins=BINS)
    second = hooks.watch(
        net, writer, every=1, gradients=False, prefix="second/", bins=BINS, trainer=trainer
    )
    train(net, 1, trainer=trainer)
    first.remove()
    train(net, 1, trainer=trainer)
    second.remove()
    train(net, 1, trainer=trainer)
    assert writer.close()
    found = logged(logdir)
    assert list(found["first/parameters/net_dense0_weight"]) == [0]
    assert list(found["second/parameters/net_dense0_weight"]) == [0, 1]


def test_a_step_within_a_step_counts_once(writer: SummaryWriter) -> None:
    class Clipping(mx.gluon.Trainer):
        def step(self, batch_size: int, ignore_stale_grad: bool = False) -> None:
            self.allreduce_grads()
            self.update(batch_size, ignore_stale_grad)

    net = network()
    trainer = Clipping(net.collect_params(), "sgd", {"learning_rate": 0.1})
    by_hand = hooks.watch(net, writer)
    by_trainer = hooks.watch(net, writer)
    # What counts by hand has its hook below the other's, where it cannot be taken away.
    train(net, 3, trainer=trainer, after_step=by_hand.step)
    assert (by_hand.next_step, by_trainer.next_step) == (3, 3)
    assert writer.close()


def test_sparse_gradients_are_left_out(writer: SummaryWriter, logdir: Path) -> None:
    net = mx.gluon.nn.Sequential(prefix="words_")
    with net.name_scope():
        net.add(mx.gluon.nn.Embedding(10, 4, sparse_grad=True), mx.gluon.nn.Dense(2))
    net.initialize()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    hooks.watch(net, writer, every=1, bins=BINS)
    with mx.autograd.record():
        loss = net(mx.nd.array([[1, 2], [3, 4]])).sum()
    loss.backward()
    trainer.step(2)
    assert writer.close()
    tags = set(logged(logdir))
    assert "parameters/words_embedding0_weight" in tags
    assert "gradients/words_dense0_weight" in tags
    assert "gradients/words_embedding0_weight" not in tags


def test_the_health_of_a_block_comes_with_one_record_a_step(
    writer: SummaryWriter, logdir: Path
) -> None:
    net = network()
    hooks.watch(net, writer, every=2, bins=BINS, health=True)
    states = train(net, 3)
    assert writer.close()
    assert writer.statistics().accepted == 2 + 1  # and the layout
    check_health(logdir, states, [0, 2])


def test_a_watch_does_not_keep_what_it_watches(writer: SummaryWriter) -> None:
    net = network()
    hooks.watch(net, writer)
    train(net, 1)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert writer.close()


def test_wrong_arguments(writer: SummaryWriter) -> None:
    net = network()
    with pytest.raises(TypeError, match=r"block is a SummaryWriter, expected a gluon\.Block"):
        hooks.watch(writer, net)
    with pytest.raises(TypeError, match="writer is a HybridSequential"):
        hooks.watch(net, net)
    with pytest.raises(TypeError, match="trainer is a str"):
        hooks.watch(net, writer, trainer="adam")
    with pytest.raises(ValueError, match="every is 0"):
        hooks.watch(net, writer, every=0)
    with pytest.raises(ValueError, match="bins 'many'"):
        hooks.watch(net, writer, bins="many")
    with pytest.raises(TypeError, match="writer is a str"):
        hooks.EstimatorHandler("logs")
    assert not net._forward_hooks


# Estimator


def loaders(count: int) -> tuple[Any, Any]:
    dataset = mx.gluon.data.ArrayDataset(*samples(count))
    return tuple(mx.gluon.data.DataLoader(dataset, batch_size=BATCH_SIZE) for _ in range(2))


def an_estimator(net: Any, **arguments: Any) -> Any:
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    estimator = estimators.Estimator(
        net, loss, trainer=trainer, context=net.collect_params().list_ctx(), **arguments
    )
    estimator.logger.setLevel(logging.ERROR)
    return estimator


class Recorder(estimators.TrainBegin, estimators.BatchEnd, estimators.EpochEnd):
    """What the Estimator itself has computed, read the ordinary way."""

    priority = 2000

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.epochs: list[dict[str, float]] = []

    def batch_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        self.losses.append(np.concatenate([part.asnumpy() for part in kwargs["loss"]]).mean())

    def epoch_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        held = [*estimator.train_metrics, *estimator.val_metrics]
        self.epochs.append(dict(each.get() for each in held))


@pytest.mark.parametrize("devices", [1, 2])
def test_an_estimator(writer: SummaryWriter, logdir: Path, devices: int) -> None:
    contexts = [mx.cpu(index) for index in range(devices)]
    training, validation = loaders(4 * BATCH_SIZE)

    def fit(*handlers: Any) -> Recorder:
        recorder = Recorder()
        estimator = an_estimator(network(contexts=contexts))
        estimator.fit(training, validation, epochs=3, event_handlers=[recorder, *handlers])
        return recorder

    recorded = fit(hooks.EstimatorHandler(writer))
    assert writer.close()
    without = fit()
    assert without.losses == recorded.losses
    assert without.epochs == recorded.epochs

    scalars = read_scalars(logdir)["."]
    points = scalars.pop("training/loss")
    assert [point.step for point in points] == list(range(12))
    np.testing.assert_allclose([point.value for point in points], recorded.losses, rtol=1e-5)
    names = [name.replace(" ", "/") for name in recorded.epochs[0]]
    assert set(scalars) == set(names)
    assert {"training/accuracy", "validation/accuracy"} <= set(names)
    for name in names:
        assert [point.step for point in scalars[name]] == [3, 7, 11]
        expected = [epoch[name.replace("/", " ")] for epoch in recorded.epochs]
        np.testing.assert_allclose(
            [point.value for point in scalars[name]], expected, rtol=1e-6, err_msg=name
        )


def test_validations_are_logged_once_when_they_happen(writer: SummaryWriter, logdir: Path) -> None:
    training, validation = loaders(4 * BATCH_SIZE)
    estimator = an_estimator(network())
    handler = hooks.EstimatorHandler(writer, every=3, prefix="run/", initial_step=100)
    for _ in range(2):
        validating = estimators.ValidationHandler(
            validation, estimator.evaluate, epoch_period=2, batch_period=3
        )
        estimator.fit(training, epochs=3, event_handlers=[handler, validating])
    assert writer.close()
    scalars = read_scalars(logdir)["."]
    # Every third of a fit's batches, and the last batch of its second epoch.
    each_fit = [2, 5, 7, 8, 11]
    expected = [*(100 + step for step in each_fit), *(112 + step for step in each_fit)]
    assert [point.step for point in scalars["run/validation/accuracy"]] == expected
    assert [point.step for point in scalars["run/training/loss"]] == list(range(100, 124, 3))
    accuracies = [point.step for point in scalars["run/training/accuracy"]]
    assert accuracies == [103, 107, 111, 115, 119, 123]


def test_an_estimator_without_metrics(writer: SummaryWriter, logdir: Path) -> None:
    """The way of the documentation to train without waiting for each batch."""
    training, _ = loaders(4 * BATCH_SIZE)
    estimator = an_estimator(network())
    handlers = [hooks.EstimatorHandler(writer), estimators.MetricHandler(metrics=[])]
    estimator.fit(training, epochs=1, event_handlers=handlers)
    assert writer.close()
    assert set(read_scalars(logdir)["."]) == {"training/loss"}


@pytest.mark.slow
def test_hooks_wait_for_nothing(writer: SummaryWriter, logdir: Path) -> None:
    """With a second of work queued before the loss and the gradients, the hooks return."""
    net = network()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.0})
    with mx.autograd.record():
        net(mx.nd.ones((2, FEATURES))).sum().backward()
    trainer.step(1)
    estimator = an_estimator(net)
    handle = hooks.watch(net, writer, every=1, bins=BINS)
    handler = hooks.EstimatorHandler(writer)
    handler.train_begin(estimator)
    handler.batch_end(estimator, loss=[mx.nd.ones((2,))])
    handle.step()
    mx.nd.waitall()
    size = 700
    factor = mx.nd.random.uniform(-1, 1, shape=(size, size)) / size
    mx.nd.waitall()
    once = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        mx.nd.dot(factor, factor).wait_to_read()
        once = min(once, time.perf_counter() - began)
    quickest = float("inf")
    for attempt in range(1, ATTEMPTS + 1):
        product = factor
        for _ in range(int(1 / once) + 1):
            product = mx.nd.dot(product, factor)
        late = product.sum() * 0
        with mx.autograd.record():
            loss = net(mx.nd.ones((2, FEATURES)) + late).sum(axis=1) * 0 + attempt
        loss.backward()
        began = time.perf_counter()
        handle.step()
        handler.batch_end(estimator, loss=[loss])
        took = time.perf_counter() - began
        began = time.perf_counter()
        mx.nd.waitall()
        if time.perf_counter() - began > 0.3:  # else it was queued no more
            quickest = min(quickest, took)
        if quickest < CALL_SECS:
            break
    assert quickest < CALL_SECS, f"the hooks took {quickest * 1e3:.1f} ms"
    assert writer.close()
    values = [point.value for point in read_scalars(logdir)["."]["training/loss"]]
    assert values == [1.0, *map(float, range(1, attempt + 1))]
