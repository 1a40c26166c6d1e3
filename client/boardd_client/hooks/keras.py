"""A callback for ``fit`` and ``evaluate`` of Keras 3, on any of its backends.

>>> from boardd_client.hooks.keras import BoarddCallback
>>> model.fit(x, y, validation_split=0.1, epochs=3, callbacks=[BoarddCallback("logs/run1")])
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import keras

from boardd_client.calls import arguments
from boardd_client.hooks.report_writer import ReportWriter
from boardd_client.hooks.watch import interval

_VALIDATION: Final = "val_"


class BoarddCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs losses, metrics, learning rate and weights, under the names of Keras's ``TensorBoard``.

    - ``epoch_<metric>`` and ``epoch_learning_rate`` at the number of the epoch, in the runs
      ``train`` and ``validation`` of ``logdir``;
    - ``batch_<metric>`` at the number of the batch, if ``update_freq`` asks for it;
    - ``evaluation_<metric>_vs_iterations``, in ``validation``, after each ``evaluate`` and
      validation;
    - ``<path>/histogram`` of each weight, if ``histogram_freq`` asks for it.

    Batches are counted from 1 over all epochs and calls of ``fit``. Each process logs, and
    the daemon merges what they log.

    Args:
        logdir: directory of the runs.
        update_freq: ``"epoch"``; or log the metrics of each batch (``"batch"``), or of each
            n-th (a number).
        histogram_freq: log the weights of each n-th epoch; 0 for none.
        hyperparameters: of the training, logged in the run ``train``.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        update_freq: str | int = "epoch",
        histogram_freq: int = 0,
        *,
        hyperparameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if update_freq == "epoch":
            self._batch_interval = 0
        else:
            self._batch_interval = interval(1 if update_freq == "batch" else update_freq)
        self._histogram_freq = arguments.count(histogram_freq, "histogram_freq")
        self._train = ReportWriter(logdir, run="train", **options)
        self._validation = ReportWriter(logdir, run="validation", **options)
        self._hyperparameters = hyperparameters
        self._batches = self._batches_before_epoch = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Logs the hyperparameters, once."""
        if self._hyperparameters is not None:
            self._train.log_hyperparameters(self._hyperparameters)
            self._hyperparameters = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Notes how many batches there were before."""
        self._batches_before_epoch = self._batches

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs the metrics of a batch, if its turn has come."""
        # With steps_per_execution Keras names only the last of several batches.
        before, self._batches = self._batches, self._batches_before_epoch + batch + 1
        every = self._batch_interval
        if every and logs and self._batches // every > before // every:
            self._train.log(_named("batch_", logs), self._batches)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs the metrics of an epoch and its validation, and the weights."""
        reported = logs or {}
        train = {name: reported[name] for name in reported if not name.startswith(_VALIDATION)}
        validation = {
            name.removeprefix(_VALIDATION): value
            for name, value in reported.items()
            if name.startswith(_VALIDATION)
        }
        model = self.model
        rate = getattr(getattr(model, "optimizer", None), "learning_rate", None)
        if rate is not None:
            train["learning_rate"] = _kept(rate)
        self._train.log(_named("epoch_", train), epoch)
        if validation:
            self._validation.log(_named("epoch_", validation), epoch)
        if self._histogram_freq and epoch % self._histogram_freq == 0:
            self._log_weights(model, epoch)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Logs what ``evaluate`` found, at the number of batches trained so far."""
        values = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
        if values:
            self._validation.log(values, self._batches)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Waits until all is written, 30 s at most. What is logged later opens it again."""
        self._train.close()
        self._validation.close()

    def _log_weights(self, model: Any, epoch: int) -> None:
        writer = self._train.open()
        for weight in model.weights:
            try:
                writer.add_histogram(f"{weight.path}/histogram", _kept(weight), epoch)
            except (TypeError, ValueError) as error:
                self._train.refuse(weight.path, error)


def _kept(value: Any) -> Any:
    """A value that the next step of the training leaves alone.

    On JAX a step takes the arrays of the model for its own, which so would be gone before
    they are read.
    """
    return keras.ops.copy(value) if keras.backend.backend() == "jax" else value


def _named(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}
