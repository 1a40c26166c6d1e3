"""Hooks for MXNet Gluon: histograms of a Block, and an Estimator's event handler.

>>> from boardd_client.hooks import gluon
>>> gluon.watch(net, writer, every=100)
>>> estimator.fit(data, epochs=3, event_handlers=[gluon.EstimatorHandler(writer)])

Nothing here waits for MXNet's engine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import mxnet as mx
import numpy as np
from mxnet.gluon.contrib.estimator.event_handler import BatchEnd, EpochEnd, TrainBegin

from boardd_client.calls import arguments
from boardd_client.hooks.metrics import flatten, values
from boardd_client.hooks.watch import Watch, checked_writer, interval
from boardd_client.writer import SummaryWriter


def watch(
    block: Any,
    writer: SummaryWriter,
    every: int = 100,
    parameters: bool = True,
    gradients: bool = True,
    bins: Any = 1000,
    *,
    trainer: Any = None,
    prefix: str = "",
    initial_step: int = 0,
    health: bool = False,
) -> Watch:
    """Logs histograms of a Block's parameters and gradients at every ``every``-th step.

    A step ends when ``step`` or ``update`` of the Trainer returns. At that moment
    the gradients are still in their buffers, as the Trainer reduced them over the
    devices, and the parameters are the new ones. The first step is logged.

    Args:
        block: a ``gluon.Block``, hybridized or not.
        writer: where to log.
        every: log each ``every``-th step.
        parameters: log ``parameters/<name>``, with names of ``collect_params()``.
        gradients: log ``gradients/<name>``, of parameters that have a gradient.
        bins: as of ``SummaryWriter.add_histogram``.
        trainer: the Trainer whose steps count. Default: the one that the block's
            parameters belong to. If there is none yet, each recorded forward pass
            looks for it.
        prefix: begins every tag, such as ``"discriminator/"``.
        initial_step: number of the first step, for training that is resumed.
        health: also log norms, zeros, NaN and infinity of all gradients and parameters, and
            of each, as ``health/...``; the custom scalars page shows them.

    Returns:
        A handle, whose ``remove()`` ends the watch, and whose ``step()`` counts a step by
        hand, for loops without a Trainer. The watch lasts as long as the block and the
        Trainer, whether or not the handle is kept.

    If a parameter is on several devices, its values on the first are logged. Sparse
    parameters and gradients, and parameters that are not initialized yet, are
    left out.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    if not isinstance(block, mx.gluon.Block):
        raise TypeError(f"block is a {type(block).__name__}, expected a gluon.Block")
    if trainer is not None and not isinstance(trainer, mx.gluon.Trainer):
        raise TypeError(f"trainer is a {type(trainer).__name__}, expected a gluon.Trainer")
    handle = Watch(
        writer,
        functools.partial(_tensors, block, prefix, bool(parameters), bool(gradients)),
        every=every,
        bins=bins,
        initial_step=initial_step,
        prefix=prefix,
        health=bool(health),
    )
    handle.count_automatically(_TrainerSteps(block, trainer, handle.count).end)
    return handle


def _tensors(
    block: Any, prefix: str, parameters: bool, gradients: bool
) -> Iterator[tuple[str, Any]]:
    for name, parameter in block.collect_params().items():
        data, grad = parameter._data, parameter._grad  # None, not an error, if there is none
        if parameters and data is not None and data[0].stype == "default":
            yield f"{prefix}parameters/{name}", data[0]
        if gradients and grad is not None and grad[0].stype == "default":
            yield f"{prefix}gradients/{name}", grad[0]


class _TrainerSteps:
    """Calls back after each step of a block's Trainer."""

    def __init__(self, block: Any, trainer: Any, after_step: Callable[[], None]) -> None:
        self._after_step = after_step
        self._trainer: Any = None
        self._replaced: dict[str, tuple[Any, Any]] = {}
        self._forward_hook: Any = None
        self._in_step = False
        self._ended = False
        if trainer is None:
            trainer = _trainer_of(block)
        if trainer is not None:
            self._follow(trainer)
        else:
            self._forward_hook = block.register_forward_hook(self._after_forward)

    def _after_forward(self, block: Any, inputs: Any, output: Any) -> None:
        if self._trainer is None and mx.autograd.is_recording():
            trainer = _trainer_of(block)
            if trainer is not None:
                self._follow(trainer)

    def _follow(self, trainer: Any) -> None:
        # Trainer has no hooks, so this replaces the object's own methods. The steps of
        # all its subclasses end in one of these two.
        self._trainer = trainer
        for name in ("step", "update"):
            own = vars(trainer).get(name)
            replacement = self._counted(getattr(trainer, name))
            self._replaced[name] = (own, replacement)
            setattr(trainer, name, replacement)

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._in_step or self._ended:
                return method(*args, **kwargs)
            self._in_step = True
            try:
                result = method(*args, **kwargs)
            finally:
                self._in_step = False
            self._detach_forward_hook()
            self._after_step()
            return result

        return call

    def _detach_forward_hook(self) -> None:
        # Not in the hook itself: a Block's hooks cannot change while they are called.
        if self._forward_hook is not None:
            self._forward_hook.detach()
            self._forward_hook = None

    def end(self) -> None:
        """Takes the hooks away; those that others were put over do nothing from now on."""
        self._ended = True
        self._detach_forward_hook()
        for name, (own, replacement) in self._replaced.items():
            if vars(self._trainer).get(name) is replacement:
                if own is None:
                    delattr(self._trainer, name)
                else:
                    setattr(self._trainer, name, own)
        self._replaced.clear()


def _trainer_of(block: Any) -> Any:
    """The Trainer of the first of a block's parameters that has one."""
    for parameter in block.collect_params().values():
        trainer = getattr(parameter, "_trainer", None)
        if trainer is not None:
            return trainer
    return None


#: MXNet's own handlers, which update parameters and metrics and validate, are at -2000 and -1000.
_PRIORITY: Final = 1000


# An Estimator takes every attribute with "metric" in its name for a metric of its own.
class EstimatorHandler(TrainBegin, BatchEnd, EpochEnd):  # type: ignore[misc]
    """Logs loss and metrics of an Estimator's ``fit``.

    - ``training/loss``: the mean loss of each ``every``-th batch, over all devices,
      resolved off the training thread;
    - ``training/<metric>``: at the end of each epoch;
    - ``validation/<metric>``: after each validation, at an epoch's end or between
      batches.

    The step is always the batch's number, counted from ``initial_step`` over all
    epochs and calls of ``fit``. The handler waits for nothing. The Estimator's own
    metrics do: their ``update`` waits for each batch. ``docs/hooks.md`` shows how
    to train without them.

    Args:
        writer: where to log.
        every: log the loss of each ``every``-th batch.
        prefix: begins every tag.
        initial_step: number of the first batch, for training that is resumed.
        priority: the Estimator calls its handlers in ascending order of priority.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        every: int = 1,
        *,
        prefix: str = "",
        initial_step: int = 0,
        priority: float = _PRIORITY,
    ) -> None:
        self.priority = priority
        self._writer = checked_writer(writer)
        self._every = interval(every)
        self._prefix = prefix
        self._initial_step = self._next_step = arguments.step(initial_step)
        self._sums: dict[Any, object] = {}

    def train_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        """Notes what an earlier ``fit`` left in the validation's metrics."""
        self._sums = {each: each.sum_metric for each in _parts(estimator.val_metrics)}

    def batch_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        """Logs the batch's loss, and a validation that just ended."""
        step = self._next_step
        self._next_step += 1
        if (step - self._initial_step) % self._every == 0:
            loss = _mean(kwargs["loss"])
            self._writer.add_scalar(f"{self._prefix}training/loss", loss, step)
        self._log_validation(estimator, step)

    def epoch_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        """Logs the epoch's metrics, and those of a validation that just ended."""
        step = self._next_step - 1
        for each in _parts(estimator.train_metrics):
            self._log(each, step)
        self._log_validation(estimator, step)

    def _log_validation(self, estimator: Any, step: int) -> None:
        # A validation resets its sums and so makes new objects of them, even if they are
        # equal to the old ones.
        for each in _parts(estimator.val_metrics):
            if each.sum_metric is not self._sums.get(each):
                self._sums[each] = each.sum_metric
                self._log(each, step)

    def _log(self, part: Any, step: int) -> None:
        for name, value in values(part):
            # The Estimator's names: "training accuracy", "validation accuracy".
            kind, space, rest = name.partition(" ")
            tag = f"{kind}/{rest}" if space else name
            self._writer.add_scalar(f"{self._prefix}{tag}", value, step)


def _parts(metrics: Any) -> list[Any]:
    return [part for metric in metrics for part in flatten(metric)]


def _mean(loss: Any) -> Any:
    """The lazy mean of all elements of a loss, or of a list with one loss per device.

    It is computed on the first device, in float32 or wider.
    """
    losses = list(loss) if isinstance(loss, (list, tuple)) else [loss]
    context = losses[0].context
    total = None
    with mx.autograd.pause():
        for part in losses:
            if part.dtype != np.float64:
                part = part.astype("float32", copy=False)
            added = part.sum().as_in_context(context)
            total = added if total is None else total + added
        return total / sum(part.size for part in losses)
