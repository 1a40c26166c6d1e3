"""A logger for PyTorch Ignite.

>>> from boardd_client.hooks.ignite import BoarddLogger
>>> logger = BoarddLogger("logs/run1")
>>> logger.attach_output_handler(
...     trainer, Events.ITERATION_COMPLETED, "training", output_transform=lambda loss: loss
... )
"""

from __future__ import annotations

import os
from typing import Any

from ignite.handlers.tensorboard_logger import TensorboardLogger

from boardd_client.hooks.library_writer import LibraryWriter
from boardd_client.writer import SummaryWriter


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

    def __init__(self, logdir: str | os.PathLike[str], **options: Any) -> None:
        self._library_writer = LibraryWriter(logdir, **options)

    @property
    def writer(self) -> SummaryWriter:
        """The writer, which is opened again if it was closed."""
        return self._library_writer.open()

    def log_hyperparameters(self, hyperparameters: Any) -> None:
        """Logs hyperparameters in the run itself."""
        self._library_writer.log_hyperparameters(hyperparameters)

    def close(self) -> None:
        """Waits until all is written, 30 s at most. What is logged later opens it again."""
        self._library_writer.close()
