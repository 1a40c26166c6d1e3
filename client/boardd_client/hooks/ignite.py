"""A logger for PyTorch Ignite.

>>> from boardd_client.hooks.ignite import BoarddLogger
>>> logger = BoarddLogger("logs/run1")
>>> logger.attach_output_handler(
...     trainer, Events.ITERATION_COMPLETED, "training", output_transform=lambda loss: loss
... )
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from ignite.handlers.tensorboard_logger import TensorboardLogger

from boardd_client.hooks.report_writer import ReportWriter


class BoarddLogger(TensorboardLogger):  # type: ignore[misc]
    """Ignite's ``TensorboardLogger``, on top of boardd's writer.

    All handlers of ``ignite.handlers.tensorboard_logger`` work with it. Each process logs,
    and the daemon merges what they log.

    Args:
        logdir: directory of the run.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    #: None while a copy is being made: Ignite's own ``__getattr__`` asks for ``writer``.
    _report_writer: ReportWriter | None = None

    def __init__(self, logdir: str | os.PathLike[str], **options: Any) -> None:
        self._report_writer = ReportWriter(logdir, **options)

    def __getattr__(self, name: str) -> Any:
        if self._report_writer is None:
            raise AttributeError(name)
        return getattr(self._report_writer.open(), name)

    @property
    def writer(self) -> Any:
        """The writer as handlers call it; it is opened again if it was closed.

        What its ``add_*`` calls refuse is left out, with one warning for each tag.
        """
        return _HandlersWriter(self._opened)

    @property
    def _opened(self) -> ReportWriter:
        if self._report_writer is None:
            raise RuntimeError("the logger is a copy that is not complete")
        return self._report_writer

    def log_hyperparameters(self, hyperparameters: Any) -> None:
        """Logs hyperparameters in the run itself."""
        self._opened.log_hyperparameters(hyperparameters)

    def close(self) -> None:
        """Waits until all is written, 30 s at most. What is logged later opens it again."""
        self._opened.close()


class _HandlersWriter:
    """A writer whose ``add_*`` calls raise nothing: handlers call them while training runs."""

    def __init__(self, writer: ReportWriter) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        if name == "_writer":  # of a copy that is being made
            raise AttributeError(name)
        method = getattr(self._writer.open(), name)
        return functools.partial(self._call, method) if name.startswith("add_") else method

    def _call(self, method: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # the value's own methods raise anything
            tag = args[0] if args else kwargs.get("tag", method.__name__)
            self._writer.refuse(str(tag), error)
