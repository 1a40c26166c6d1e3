"""A tracker for Hugging Face's Accelerate.

>>> from boardd_client.hooks.accelerate import BoarddTracker
>>> accelerator = Accelerator(log_with=BoarddTracker("run1", "logs"))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from boardd_client.hooks.report_writer import ReportWriter, of_one_process
from boardd_client.writer import SummaryWriter


class BoarddTracker(GeneralTracker):  # type: ignore[misc]
    """Logs what ``Accelerator.log`` is given, in the run ``logging_dir/run_name``.

    As with Accelerate's own trackers only the main process logs. What ``init_trackers`` gets
    as ``config`` are the hyperparameters of the run.

    Args:
        run_name: directory of this run.
        logging_dir: directory of all runs.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described; of ``options``, in
            ``init_trackers``.
    """

    name = "boardd"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str | os.PathLike[str], **options: Any) -> None:
        super().__init__()
        self.run_name = run_name
        self.logging_dir = os.path.join(logging_dir, run_name)
        self._options = of_one_process(options)
        self._writer: ReportWriter | None = None

    @on_main_process  # type: ignore[untyped-decorator]
    def start(self) -> None:
        """Makes the writer."""
        self._open()

    def _open(self) -> ReportWriter:
        if self._writer is None:
            self._writer = ReportWriter(self.logging_dir, **self._options)
        return self._writer

    @property
    def tracker(self) -> SummaryWriter:
        """The writer."""
        return self._open().open()

    @on_main_process  # type: ignore[untyped-decorator]
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Logs the hyperparameters of the run."""
        self._open().log_hyperparameters(values)

    @on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Logs numbers, texts, and dicts as several curves of a plot.

        Tensors of one element are numbers, and are not waited for. ``kwargs``, meant for
        other trackers, count for nothing.
        """
        self._open().log(values, step)

    @on_main_process  # type: ignore[untyped-decorator]
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Logs batches of images as grids; ``kwargs`` as for ``SummaryWriter.add_images``."""
        writer = self._open().open()
        for name, images in values.items():
            writer.add_images(name, images, step, **kwargs)

    @on_main_process  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Waits until all is written, 30 s at most."""
        if self._writer is not None:
            self._writer.close()
