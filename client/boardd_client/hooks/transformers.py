"""A callback for the ``Trainer`` of Hugging Face's transformers.

>>> from boardd_client.hooks.transformers import BoarddCallback
>>> trainer = Trainer(model, args, train_dataset=data, callbacks=[BoarddCallback()])
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from boardd_protos import logdir_paths
from transformers import TrainerCallback
from transformers.integrations import rewrite_logs

from boardd_client.hooks.report_writer import ReportWriter, of_one_process


class BoarddCallback(TrainerCallback):  # type: ignore[misc]
    """Logs what a ``Trainer`` reports, as ``train/<name>``, ``eval/<name>`` and ``test/<name>``.

    The training's arguments are logged as the hyperparameters of the run, and as a text
    ``args``, the model's configuration as a text ``model_config``. As with the Trainer's own
    callbacks only the process of rank zero logs.

    A second ``train()`` is a run beside the first, ``<logdir>_2``, unless it goes on from a
    checkpoint: then it goes on in the run, in which what was logged after the checkpoint is
    out of date. Each trial of ``hyperparameter_search`` is a run: ``<logdir>/<trial>`` with the
    name that its ``hp_name`` gives, else ``<logdir>``, ``<logdir>_2`` and so on.

    Args:
        logdir: directory of the run. Default: the environment's
            ``TENSORBOARD_LOGGING_DIR``, else ``runs/<time>_<host>`` in the Trainer's
            ``output_dir``.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described; of ``options``, when
            training begins.
    """

    def __init__(self, logdir: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._logdir = None if logdir is None else os.fspath(logdir)
        self._options = of_one_process(options)
        self._writer: ReportWriter | None = None
        self._directory = ""  # of the writer
        self._trainings: dict[str, int] = {}  # the number of the last, by run

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Begins a run, or goes on in one."""
        if not state.is_world_process_zero:
            return
        writer = self._begin(args, state)
        writer.log_hyperparameters({**args.to_dict(), **(state.trial_params or {})})
        texts = {"args": args.to_json_string()}
        configuration = getattr(getattr(model, "config", None), "to_json_string", None)
        if configuration is not None:
            texts["model_config"] = configuration()
        writer.log({name: f"```\n{text}\n```" for name, text in texts.items()}, state.global_step)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Logs what the Trainer reports."""
        if state.is_world_process_zero and logs:
            # Without a writer it is an evaluation; the first training takes its run over.
            writer = self._writer or self._open(self._run(args, state))
            writer.log(rewrite_logs(logs), state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Waits until all is written, 30 s at most. An evaluation may follow."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, args: Any, state: Any) -> ReportWriter:
        """The writer of a training."""
        run = self._run(args, state)
        number = self._trainings.get(run, 0)
        if state.global_step:  # resumed, so it goes on in the last run
            number = max(number, 1)
        else:
            number += 1
        self._trainings[run] = number
        directory = run if number == 1 else f"{run}_{number}"
        if state.global_step:
            return self._open(directory, purge_step=state.global_step + 1)
        if self._writer is not None and directory == self._directory:
            return self._writer
        return self._open(directory)

    def _run(self, args: Any, state: Any) -> str:
        """Directory of the run, or of the first of several."""
        if self._logdir is None:
            self._logdir = _default_logdir(args)
        return logdir_paths.joined(self._logdir, state.trial_name or "")

    def _open(self, directory: str, **options: Any) -> ReportWriter:
        if self._writer is not None:
            self._writer.close(0)
        self._directory = directory
        self._writer = ReportWriter(directory, **{**options, **self._options})
        return self._writer


def _default_logdir(args: Any) -> str:
    """The directory that ``args`` or the environment name, else one of its own."""
    named = os.environ.get("TENSORBOARD_LOGGING_DIR") or getattr(args, "logging_dir", None)
    if named:
        return os.path.expanduser(named)
    now = f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}"
    return os.path.join(args.output_dir, "runs", now)
