"""Callbacks for ``mx.mod.Module.fit``.

>>> from boardd_client.hooks import module as hooks
>>> batches = hooks.batch_end_callback(writer, every=50)
>>> net.fit(
...     train, eval_data=validation, num_epoch=5,
...     batch_end_callback=batches,
...     eval_end_callback=hooks.eval_end_callback(writer, batches),
... )

They read what ``fit`` has already added up on the host.
"""

from __future__ import annotations

from typing import Any

from boardd_client.calls import arguments
from boardd_client.hooks.metrics import values
from boardd_client.hooks.watch import checked_writer, interval
from boardd_client.writer import SummaryWriter


def batch_end_callback(
    writer: SummaryWriter, every: int = 1, *, prefix: str = "training/", initial_step: int = 0
) -> BatchEndCallback:
    """Returns a callback that logs the training's metrics, as ``training/<metric>``.

    It logs each ``every``-th batch and each epoch's last. The values cover the epoch
    so far, even beside a Speedometer. Steps count batches from ``initial_step`` over
    all epochs and calls of ``fit``.

    Args:
        writer: where to log.
        every: log each ``every``-th batch.
        prefix: begins every tag.
        initial_step: number of the first batch, for training that is resumed.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    return BatchEndCallback(writer, every, prefix, initial_step)


def eval_end_callback(
    writer: SummaryWriter,
    batches: BatchEndCallback | None = None,
    *,
    prefix: str = "validation/",
) -> EvalEndCallback:
    """Returns a callback that logs each validation's metrics, as ``validation/<metric>``.

    Args:
        writer: where to log.
        batches: the training's ``batch_end_callback``. With it, the step is the number
            of the last batch, so that both fit on one axis. Without it, the step is
            the number of the epoch.
        prefix: begins every tag.

    Raises:
        TypeError: an argument is not as described.
    """
    return EvalEndCallback(writer, batches, prefix)


class BatchEndCallback:
    """What ``batch_end_callback`` returns. ``next_step`` is the next batch's number.

    Args:
        writer: where to log.
        every: log each ``every``-th batch and each epoch's last.
        prefix: begins every tag.
        initial_step: number of the first batch.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(self, writer: SummaryWriter, every: int, prefix: str, initial_step: int) -> None:
        self._writer = checked_writer(writer)
        self._every = interval(every)
        self._prefix = prefix
        self._initial_step = self.next_step = arguments.step(initial_step)

    def __call__(self, param: Any) -> None:
        """Takes a ``BatchEndParam`` of ``fit``."""
        step = self.next_step
        self.next_step += 1
        is_last = bool((param.locals or {}).get("end_of_batch"))  # of the epoch, in fit's words
        if (step - self._initial_step) % self._every and not is_last:
            return
        for name, value in values(param.eval_metric):
            self._writer.add_scalar(f"{self._prefix}{name}", value, step)


class EvalEndCallback:
    """What ``eval_end_callback`` returns.

    Args:
        writer: where to log.
        batches: the training's callback, whose last batch is the step, or None: the epoch is.
        prefix: begins every tag.

    Raises:
        TypeError: an argument is not as described.
    """

    def __init__(
        self, writer: SummaryWriter, batches: BatchEndCallback | None, prefix: str
    ) -> None:
        if batches is not None and not isinstance(batches, BatchEndCallback):
            raise TypeError(
                f"batches is a {type(batches).__name__}, expected what batch_end_callback returned"
            )
        self._writer = checked_writer(writer)
        self._batches = batches
        self._prefix = prefix

    def __call__(self, param: Any) -> None:
        """Takes a ``BatchEndParam`` of ``score``."""
        step = param.epoch if self._batches is None else self._batches.next_step - 1
        for name, value in values(param.eval_metric):
            self._writer.add_scalar(f"{self._prefix}{name}", value, step)
