"""Where a writer's calls go: into records of its run."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from boardd_protos import tags
from boardd_protos.summary_kind import SummaryKind

from boardd_client.calls import ScalarCalls, arguments
from boardd_client.calls.arguments import Bins
from boardd_client.calls.base import TaggedTensors
from boardd_client.calls.batches import Watched
from boardd_client.calls.run_options import RunOptions
from boardd_client.capture import Tensor
from boardd_client.run.run_handle import RunHandle


class Recording(ScalarCalls):
    """Logs what the calls have checked to the run that ``_attach`` returns."""

    _run_options: RunOptions
    #: The run, once something was logged to it, and the series of its known tags.
    _attached: RunHandle | None
    _series: dict[str, int]

    @abstractmethod
    def _attach(self) -> RunHandle | None:
        """This writer's run in a session, begun if need be; None if the writer is closed."""

    def _knows(self, tag: str) -> bool:
        return tag in self._series

    def _log_known_curves(
        self, tag: str, step: int, wall_time: float, values: Mapping[str, Any]
    ) -> bool:
        run = self._attached
        return run is not None and run.log_known_curves(tag, step, wall_time, values)

    def _learn_curves(self, tag: str, names: tuple[str, ...]) -> None:
        if self._attached is not None:
            self._attached.learn_curves(tag, names)

    def _wall_time(self) -> float:
        return time.time()

    def _log_scalar(
        self,
        tag: str,
        name: str,
        step: int,
        wall_time: float,
        value: float | Tensor,
        given_step: float | None,
    ) -> None:
        run = self._attach()
        series = run.series_of(tag, name, step=step) if run is not None else 0
        if run is not None and series:
            if given_step != step:
                run.given_steps.note(series, wall_time, step, given_step)
            run.log_value(series, step, wall_time, value)

    def _shown_tag(self, tag: str) -> str:
        return tag if self._run_options.keep_tags else tags.clean(tag)

    def _log_number(
        self,
        tag: str,
        step: int,
        value: float | Tensor,
        *,
        sub_run: str,
        walltime: object = None,
    ) -> None:
        wall_time = _time_of(walltime)
        run = self._attach()
        series = run.series_in(sub_run, tag, step=step) if run is not None else 0
        if run is not None and series:
            run.log_value(series, step, wall_time, value)

    def _log_summary(
        self,
        tag: str,
        step: int,
        payload: bytes,
        tensors: Sequence[Tensor] = (),
        *,
        kind: SummaryKind | None,
        names: tuple[str, ...] = (),
        walltime: object = None,
        sub_run: str = "",
    ) -> None:
        wall_time = _time_of(walltime)
        run = self._attach()
        if run is None:
            return
        series = run.series_of_summary(tag, kind, names, sub_run=sub_run, step=step)
        if series:
            run.log_record(series, step, wall_time, tensors, payload)

    def _log_scalar_tensor(
        self, tag: str, step: int, payload: bytes, tensor: Tensor, walltime: object
    ) -> None:
        run = self._attach()
        if run is None or run.takes_scalar_tensors:
            kind = SummaryKind.SCALAR
            self._log_summary(tag, step, payload, [tensor], kind=kind, walltime=walltime)
        else:
            self._log_number(tag, step, tensor, sub_run="", walltime=walltime)

    def _log_histograms(
        self,
        histograms: TaggedTensors,
        step: int,
        bins: Bins,
        walltime: object,
        watched: Watched | None = None,
    ) -> None:
        wall_time, run = _time_of(walltime), self._attach()
        if run is not None:
            alone = self._ranks.is_one_of_several
            run.log_histograms(histograms, step, wall_time, bins, watched, is_each_alone=alone)


def _time_of(walltime: object) -> float:
    checked = arguments.wall_time(walltime)
    return time.time() if checked is None else checked
