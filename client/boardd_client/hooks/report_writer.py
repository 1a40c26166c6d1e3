"""``ReportWriter``: a ``SummaryWriter`` as training libraries use one.

They report names and values, close their logger after each phase, and log again later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from boardd_client import capture
from boardd_client.calls import arguments, hparams
from boardd_client.writer import SummaryWriter

_logger = logging.getLogger("boardd_client")


class ReportWriter:
    """Logs what a library reports. Tags are kept as they are.

    Nothing waits but ``close``: records are sent by themselves, so a library's ``flush``
    needs no call. Nothing that is reported raises: what cannot be logged is left out, with one
    warning for each name.

    Args:
        logdir: directory of the run.
        options: what ``SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(self, logdir: str | os.PathLike[str], **options: Any) -> None:
        self._writer = SummaryWriter(logdir, **{"keep_tags": True, **options})
        self._closed = False
        self._refused: set[str] = set()

    def open(self) -> SummaryWriter:
        """The writer, which is opened again if it was closed."""
        if self._closed:
            self._closed = False
            self._writer.reopen()
        return self._writer

    def log(self, values: Mapping[str, Any], step: Any) -> None:
        """Logs numbers as scalars, texts as texts, and dicts as several curves of a plot.

        A number may be an array of one element, which may still be computing.
        """
        writer = self.open()
        for name, value in values.items():
            try:
                if isinstance(value, str):
                    writer.add_text(name, value, step)
                else:
                    writer.add_scalar(name, value, step)
            except Exception as error:  # the value's own methods raise anything
                self.refuse(name, error)

    def log_hyperparameters(
        self, hyperparameters: Any, metrics: Mapping[str, Any] | None = None, step: Any = None
    ) -> None:
        """Logs hyperparameters in the run itself, with the results that they led to.

        Args:
            hyperparameters: a dict, a ``Namespace`` or a dataclass, which may hold others.
            metrics: names and numbers.
            step: of the metrics.
        """
        results = {name: each for name, each in (metrics or {}).items() if self._takes(name, each)}
        try:
            found = hparams.values(hyperparameters, self.refuse)
            values = {name: hparams.plain(value) for name, value in found.items()}
            self.open().add_hparams(values, results, ".", step)
        except (TypeError, ValueError) as error:
            self.refuse("hyperparameters", error)
            self.log(results, step)

    def _takes(self, name: str, value: Any) -> bool:
        """Whether a result can be logged."""
        try:
            capture.scalar(value, arguments.tag(name))
        except Exception as error:  # the value's own methods raise anything
            self.refuse(name, error)
            return False
        return True

    def refuse(self, name: str, error: Exception) -> None:
        """Warns, once for each name, that a value is left out."""
        if name not in self._refused:
            self._refused.add(name)
            _logger.warning("boardd: %s is reported but cannot be logged: %s", name, error)

    def close(self, timeout: float | None = None) -> None:
        """Waits until all is written. What is logged later opens it again.

        Args:
            timeout: seconds to wait at most; None is 30.
        """
        self._closed = True
        self._writer.close(timeout)

    def wait_closed(self, timeout_secs: float) -> bool:
        """Waits until what was logged before ``close`` is written; returns whether it is."""
        return self._writer._flush_closed(timeout_secs).ok


def of_one_process(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a writer in the one process of several that its library lets log.

    Without them it would wait for the values of the other ranks, which log nothing.
    """
    if "rank" in options or "world_size" in options:
        return options
    return {**options, "world_size": 1}
