"""``watch`` for PyTorch: histograms of a module's parameters and gradients.

>>> from boardd_client.hooks import torch as hooks
>>> hooks.watch(model, writer, every=100)
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import register_optimizer_step_post_hook

from boardd_client.hooks.watch import Watch
from boardd_client.writer import SummaryWriter


def watch(
    module: Any,
    writer: SummaryWriter,
    every: int = 100,
    parameters: bool = True,
    gradients: bool = True,
    bins: Any = 1000,
    *,
    optimizer: Any = None,
    prefix: str = "",
    initial_step: int = 0,
    health: bool = False,
) -> Watch:
    """Logs histograms of a module's parameters and gradients at every ``every``-th step.

    A step ends when ``step`` of the optimizer returns. At that moment the gradients
    are those it used (accumulated, clipped, unscaled) and the parameters are the new
    ones. So gradient accumulation, ``GradScaler``, ``DistributedDataParallel`` and
    learning-rate schedules need nothing more. The first step is logged.

    Args:
        module: a ``torch.nn.Module``, on any device.
        writer: where to log.
        every: log each ``every``-th step.
        parameters: log ``parameters/<name>``, with names of ``named_parameters()``.
        gradients: log ``gradients/<name>``, of parameters whose ``grad`` is not None.
        bins: as of ``SummaryWriter.add_histogram``.
        optimizer: the optimizer whose steps count. Default: the first
            ``torch.optim.Optimizer`` that takes a step with one of the module's
            parameters.
        prefix: begins every tag, such as ``"discriminator/"``.
        initial_step: number of the first step, for training that is resumed.
        health: also log norms, zeros, NaN and infinity of all gradients and parameters, and
            of each, as ``health/...``; the custom scalars page shows them.

    Returns:
        A handle, whose ``remove()`` ends the watch, and whose ``step()`` counts a step by
        hand, for loops without such an optimizer. The watch lasts as long as the
        module, whether or not the handle is kept.

    Tensors on the CPU are copied at the call. Tensors on a device are cloned there,
    in stream order, and nothing waits for the device. The clones occupy device
    memory until they have reached the host. Of a DTensor, this process's part is
    logged.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, expected a torch.nn.Module")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}, expected a torch Optimizer")
    watched = weakref.ref(module)
    handle = Watch(
        writer,
        functools.partial(_tensors, watched, prefix, bool(parameters), bool(gradients)),
        every=every,
        bins=bins,
        initial_step=initial_step,
        prefix=prefix,
        health=bool(health),
    )
    if optimizer is not None:
        hook = optimizer.register_step_post_hook(lambda *_: handle.count())
    else:
        hook = register_optimizer_step_post_hook(_FirstOptimizer(watched, handle.count))
        # The hook belongs to the process, so it must not outlive the module it is for.
        weakref.finalize(module, hook.remove).atexit = False
    handle.count_automatically(hook.remove)
    return handle


def _tensors(
    watched: weakref.ref[Any], prefix: str, parameters: bool, gradients: bool
) -> Iterator[tuple[str, Any]]:
    module = watched()
    if module is None:
        return
    for name, parameter in module.named_parameters():
        if parameters and not is_lazy(parameter):
            yield f"{prefix}parameters/{name}", _local(parameter.detach())
        if gradients and parameter.grad is not None:
            yield f"{prefix}gradients/{name}", _local(parameter.grad.detach())


def _local(tensor: Any) -> Any:
    """A tensor, or this process's part of a DTensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class _FirstOptimizer:
    """Counts the steps of the first optimizer that takes one with a module's parameters."""

    def __init__(self, watched: weakref.ref[Any], after_step: Callable[[], None]) -> None:
        self._watched = watched
        self._after_step = after_step
        self._optimizer: weakref.ref[Any] | None = None

    def __call__(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        known = self._optimizer() if self._optimizer is not None else None
        if known is None:  # or the known one was replaced by another
            if not self._is_of_module(optimizer):
                return
            self._optimizer = weakref.ref(optimizer)
        elif known is not optimizer:
            return
        self._after_step()

    def _is_of_module(self, optimizer: Any) -> bool:
        module = self._watched()
        if module is None:
            return False
        of_module = {id(parameter) for parameter in module.parameters()}
        return any(
            id(parameter) in of_module
            for group in optimizer.param_groups
            for parameter in group["params"]
        )
