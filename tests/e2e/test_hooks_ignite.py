"""The hook for Ignite: all of Ignite's own handlers work with it."""

from __future__ import annotations

import copy
import logging
import pickle
import warnings
from typing import Any

import pytest
from support.daemon_process import DaemonProcess
from support.hparams_page import read_hparams_page
from support.tensorboard_reader import read_histograms, read_scalars

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ignite's own, at import
    ignite = pytest.importorskip("ignite", reason="needs ignite", exc_type=ImportError)
    from boardd_client.hooks.ignite import BoarddLogger
    from ignite.engine import Engine, Events
    from ignite.handlers import tensorboard_logger as handlers
    from ignite.handlers.tensorboard_logger import global_step_from_engine

BATCHES, EPOCHS = 3, 2


def test_a_training_with_every_handler(daemon: DaemonProcess) -> None:
    torch.manual_seed(3)
    net = torch.nn.Linear(5, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    losses: list[float] = []

    def train(engine: Any, batch: Any) -> Any:
        optimizer.zero_grad()
        loss = net(batch).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return loss

    trainer, evaluator = Engine(train), Engine(lambda engine, batch: 7.0)
    evaluator.add_event_handler(
        Events.COMPLETED, lambda engine: engine.state.metrics.update(accuracy=0.5)
    )
    data = [torch.full((4, 5), float(number)) for number in range(BATCHES)]
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: evaluator.run(data))
    with BoarddLogger(daemon.logdir / "run", address=daemon.address) as logger:
        logger.log_hyperparameters({"rate": 0.1})
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED, "training", output_transform=lambda loss: loss
        )
        logger.attach_output_handler(
            evaluator,
            Events.COMPLETED,
            "validation",
            metric_names=["accuracy"],
            global_step_transform=global_step_from_engine(trainer),
        )
        logger.attach_opt_params_handler(trainer, Events.ITERATION_STARTED, optimizer)
        for kind in ("WeightsScalarHandler", "GradsScalarHandler"):
            handler = getattr(handlers, kind)(net)
            logger.attach(trainer, handler, Events.ITERATION_COMPLETED)
        for kind in ("WeightsHistHandler", "GradsHistHandler"):
            handler = getattr(handlers, kind)(net)
            logger.attach(trainer, handler, Events.EPOCH_COMPLETED)
        trainer.run(data, max_epochs=EPOCHS)
    scalars = read_scalars(daemon.logdir)["run"]
    iterations = list(range(1, BATCHES * EPOCHS + 1))
    points = scalars["training/output"]
    assert [point.step for point in points] == iterations
    assert [point.value for point in points] == pytest.approx(losses)
    assert [point.step for point in scalars["validation/accuracy"]] == [1, 2]
    assert [point.step for point in scalars["lr/group_0"]] == iterations
    assert {"weights_norm/weight", "grads_norm/bias"} <= set(scalars)
    histograms = read_histograms(daemon.logdir)["run"]
    assert [point.step for point in histograms["weights/weight"]] == [1, 2]
    assert [point.step for point in histograms["grads/bias"]] == [1, 2]
    assert read_hparams_page(daemon.logdir)["run"].hparams == {"rate": 0.1}


def test_what_is_logged_after_close_is_there(daemon: DaemonProcess) -> None:
    logger = BoarddLogger(daemon.logdir / "run", address=daemon.address)
    for step in range(2):
        logger.writer.add_scalar("loss", 0.5, step)
        logger.add_text("note", "through the logger itself", step)
        logger.close()
    assert [point.step for point in read_scalars(daemon.logdir)["run"]["loss"]] == [0, 1]


def test_what_a_handler_logs_never_ends_the_training_and_a_logger_can_be_pickled(
    daemon: DaemonProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """A tag of another kind is left out, with one warning."""
    first = BoarddLogger(daemon.logdir / "run", address=daemon.address)
    logger = pickle.loads(pickle.dumps(copy.copy(first)))
    logger.writer.add_histogram(tag="training/output", values=[1.0], global_step=0)
    trainer = Engine(lambda engine, batch: 0.5)
    logger.attach_output_handler(
        trainer,
        Events.ITERATION_COMPLETED,
        "training",
        output_transform=lambda loss: {"output": loss, "loss": loss},
    )
    with caplog.at_level(logging.WARNING, "boardd_client"):
        trainer.run([1, 2], max_epochs=1)
    logger.close()
    first.close()
    assert [point.step for point in read_scalars(daemon.logdir)["run"]["training/loss"]] == [1, 2]
    told = [text for text in caplog.messages if "cannot be logged" in text]
    assert [text.partition(" is reported")[0] for text in told] == ["boardd: training/output"]
