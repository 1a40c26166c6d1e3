"""A logger for PyTorch Lightning and Fabric.

>>> from boardd_client.hooks.lightning import BoarddLogger
>>> trainer = lightning.Trainer(logger=BoarddLogger("logs"))
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
except ImportError:
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities import rank_zero_only

from boardd_protos import remote_logdir

from boardd_client.hooks.report_writer import ReportWriter, of_one_process
from boardd_client.writer import SummaryWriter

_VERSION: Final = re.compile(r"version_(\d+)")


class BoarddLogger(Logger):  # type: ignore[misc]
    """Logs what a ``LightningModule`` reports with ``self.log``.

    The run is ``save_dir/name/version``, where Lightning puts its checkpoints, too. As with
    Lightning's own loggers only the process of rank zero logs; ``self.log(...,
    sync_dist=True)`` reduces over the ranks before. ``logger.experiment`` is the
    ``boardd_client.SummaryWriter``.

    Hyperparameters are those of ``save_hyperparameters()``. They are logged in the run
    itself.

    Args:
        save_dir: directory of all experiments.
        name: directory of this experiment; empty or None for none.
        version: directory of this run; a number ``n`` becomes ``version_<n>``. Default:
            the number after the greatest that is there.
        prefix: begins every tag, followed by ``-``, as with Lightning's own loggers.
        log_graph: log the graph of a module that has an ``example_input_array``.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described; of ``options``, at the first
            record.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        log_graph: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._save_dir = os.fspath(save_dir)
        self._name = name or ""
        self._version = version
        self._prefix = f"{prefix}{self.LOGGER_JOIN_CHAR}" if prefix else ""
        self._logs_graph = bool(log_graph)
        self._options = of_one_process(options)
        self._writer: ReportWriter | None = None

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._name

    @property
    def version(self) -> int | str:
        """Number or name of the run."""
        if self._version is None:
            self._version = _next_version(self.root_dir)
        return self._version

    @property
    def save_dir(self) -> str:
        """Directory of all experiments."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """Directory of the experiment."""
        return os.path.join(self._save_dir, self._name)

    @property
    def log_dir(self) -> str:
        """Directory of the run."""
        version = self.version
        directory = version if isinstance(version, str) else f"version_{version}"
        return os.path.join(self.root_dir, directory)

    @property
    @rank_zero_experiment  # type: ignore[untyped-decorator]
    def experiment(self) -> SummaryWriter:
        """The writer; in other processes than that of rank zero, something that logs nothing."""
        return self._open().open()

    def _open(self) -> ReportWriter:
        if self._writer is None:
            directory = self.log_dir
            self._writer = ReportWriter(directory, **self._options)
            # The daemon makes it too, but later: the next logger must not take its number.
            if not remote_logdir.is_remote(directory):
                with suppress(OSError):
                    os.makedirs(directory, exist_ok=True)
        return self._writer

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers, and dicts as several curves of a plot."""
        self._open().log({f"{self._prefix}{name}": metrics[name] for name in metrics}, step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(
        self, params: Any, metrics: Mapping[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Logs hyperparameters, with the results that they led to if they are given."""
        self._open().log_hyperparameters({} if params is None else params, metrics, step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Logs the graph of a module, once, if the logger was made with ``log_graph``."""
        if not self._logs_graph:
            return
        self._logs_graph = False  # Lightning asks in each of its phases
        inputs = getattr(model, "example_input_array", None) if input_array is None else input_array
        if inputs is None:
            error = ValueError("set the model's example_input_array")
            self._open().refuse("the graph", error)
            return
        if hasattr(model, "_on_before_batch_transfer"):  # not so with the modules of Fabric
            inputs = model._on_before_batch_transfer(inputs)
            inputs = model._apply_batch_transfer_handler(inputs)
        try:
            self._open().open().add_graph(model, inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            self._open().refuse("the graph", error)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """Closes the writer at the end of a phase; what is logged later opens it again."""
        if self._writer is not None:
            self._writer.close()


def _next_version(directory: str) -> int | str:
    """The number after the greatest of the versions in a directory; of a URL, the time."""
    if remote_logdir.is_remote(directory):
        return f"version_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    found = (_VERSION.fullmatch(name) for name in names)
    return max((int(match[1]) for match in found if match), default=-1) + 1
