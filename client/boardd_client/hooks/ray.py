"""A callback for Ray Tune: each trial is a run, with its hyperparameters.

>>> from boardd_client.hooks.ray import BoarddLoggerCallback
>>> tune.Tuner(train, run_config=tune.RunConfig(callbacks=[BoarddLoggerCallback("logs")]))
"""

from __future__ import annotations

import numbers
import os
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from boardd_protos import logdir_paths
from ray.tune.logger import TBXLoggerCallback
from ray.tune.utils import flatten_dict

from boardd_client.hooks.report_writer import ReportWriter, of_one_process

#: Says nothing about the training.
_LEFT_OUT: Final = {"config", "pid", "timestamp", "time_total_s", "training_iteration"}
_FRAMES_A_SECOND: Final = 20
_WAIT_SECS: Final = 30.0


# Ray adds a TBXLoggerCallback of its own unless there is one.
class BoarddLoggerCallback(TBXLoggerCallback):  # type: ignore[misc]
    """Logs the results of trials as ``ray/tune/<name>``, as Ray's own callback for TensorBoard.

    It takes that callback's place. Each trial is a run; its hyperparameters are logged with
    its first result. Arrays of one element are logged as scalars, others as images if they
    have three or four dimensions, as videos if they have five, else as histograms. Texts are
    left out. It runs in the process that controls the trials, so the trials themselves need no
    boardd.

    Args:
        logdir: directory of the runs, each named as the trial's directory. Default: in the
            directory of the trial. Ray copies it to the experiment's storage, so the end of a
            trial waits until all is written, 30 s at most. After a wait in vain no other trial
            waits.
        options: what ``boardd_client.SummaryWriter`` takes besides.

    Raises:
        TypeError, ValueError: an argument is not as described; of ``options``, when a trial
            begins.
    """

    def __init__(self, logdir: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._logdir = None if logdir is None else logdir_paths.absolute(logdir)
        self._options = of_one_process(options)
        self._writers: dict[Any, ReportWriter] = {}
        self._begun: set[Any] = set()
        # Ray makes its last copy before on_experiment_end.
        self._waits_at_trial_end = logdir is None

    def log_trial_start(self, trial: Any) -> None:
        """Makes the trial's writer, or opens it again."""
        if trial not in self._writers:
            trial.init_local_path()
            directory = trial.local_path
            if self._logdir is not None:
                directory = os.path.join(self._logdir, os.path.basename(directory))
            self._writers[trial] = ReportWriter(directory, **self._options)

    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:
        """Logs a result of a trial, with its hyperparameters if it is the first."""
        self.log_trial_start(trial)
        step = result.get("timesteps_total") or result["training_iteration"]
        kept = {name: value for name, value in result.items() if name not in _LEFT_OUT}
        values = {f"ray/tune/{name}": each for name, each in flatten_dict(kept, "/").items()}
        scalars = {name: each for name, each in values.items() if _is_scalar(each)}
        writer = self._writers[trial]
        if trial.evaluated_params and trial not in self._begun:
            # Beside the scalars, which so become columns of TensorBoard's page.
            writer.log_hyperparameters(trial.evaluated_params, scalars, step)
        else:
            writer.log(scalars, step)
        self._begun.add(trial)
        for name, value in values.items():
            if name not in scalars and isinstance(value, (list, np.ndarray)):
                _log_array(writer, name, value, step)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Closes the trial's writer, and waits only where Ray copies what it wrote."""
        if trial in self._writers:
            writer = self._writers[trial]
            writer.close(0)
            if self._waits_at_trial_end:
                self._waits_at_trial_end = writer.wait_closed(_WAIT_SECS)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Waits until all of all trials is written, 30 s at most."""
        deadline = time.monotonic() + _WAIT_SECS
        while self._writers:
            _, writer = self._writers.popitem()
            writer.close(0)
            writer.wait_closed(max(deadline - time.monotonic(), 0))
        self._begun.clear()


def _is_scalar(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size == 1
    return isinstance(value, (numbers.Real, np.bool_))


def _log_array(writer: ReportWriter, name: str, array: Any, step: int) -> None:
    try:
        values = np.asarray(array)
        if not values.size:
            return
        if values.ndim == 3:
            writer.open().add_image(name, values, step, dataformats="CHW")
        elif values.ndim == 4:
            writer.open().add_images(name, values, step)
        elif values.ndim == 5:
            writer.open().add_video(name, values, step, fps=_FRAMES_A_SECOND)
        else:
            writer.open().add_histogram(name, values, step)
    except (TypeError, ValueError) as error:
        writer.refuse(name, error)
