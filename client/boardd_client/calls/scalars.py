"""Scalars, one by one or as the curves of one plot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from boardd_protos.merging import REDUCTIONS

from boardd_client import capture
from boardd_client.calls import arguments
from boardd_client.calls.base import Calls
from boardd_client.calls.reductions import Reductions


class ScalarCalls(Calls):
    """See the module. ``add_scalar`` itself, which is called the most, is with the writer."""

    _reductions: Reductions

    @abstractmethod
    def _knows(self, tag: str) -> bool:
        """Whether ``tag`` was checked before."""

    @abstractmethod
    def _log_scalar(
        self,
        tag: str,
        name: str,
        step: int,
        wall_time: float,
        value: float | capture.Tensor,
        given_step: float | None,
    ) -> None:
        """Logs a scalar, or one of curve ``name`` in the plot ``tag``.

        ``given_step`` is what ``step`` was made of, for exports.
        """

    @abstractmethod
    def _log_known_curves(
        self, tag: str, step: int, wall_time: float, values: Mapping[str, Any]
    ) -> bool:
        """Logs curves that came together before; False if they did not."""

    @abstractmethod
    def _learn_curves(self, tag: str, names: tuple[str, ...]) -> None:
        """Notes that numbers of these names were logged one by one."""

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: Any = None,
        *,
        walltime: float | None = None,
        reduce: str | None = None,
    ) -> None:
        """Logs several curves in one plot, as ``add_scalar`` does with a dict.

        Args:
            main_tag: name of the plot.
            tag_scalar_dict: names and values of the curves.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.
            reduce: as for ``add_scalar``, for each of the curves.

        Raises:
            TypeError, ValueError: not as described.
        """
        if not isinstance(tag_scalar_dict, Mapping):
            kind = arguments.kind(tag_scalar_dict)
            raise TypeError(f"tag_scalar_dict is a {kind}, expected a dict")
        self._add_scalar(main_tag, tag_scalar_dict, global_step, walltime, reduce)

    def _add_scalar(
        self, tag: object, value: Any, global_step: object, walltime: object, reduce: object
    ) -> None:
        tag = tag if type(tag) is str and self._knows(tag) else arguments.tag(tag)
        given_step = arguments.given_step(global_step)
        step = arguments.step(given_step)
        if isinstance(value, (tuple, list)):
            if len(value) != 2:
                raise ValueError(f"value has {len(value)} elements, expected (name, value)")
            value = {value[0]: value[1]}
        given_time = arguments.wall_time(walltime)
        wall_time = self._wall_time() if given_time is None else given_time
        way = None if reduce is None else arguments.choice(reduce, "reduce", REDUCTIONS)
        if not isinstance(value, Mapping):
            number = capture.scalar(value, "value")
            if way is not None:
                self._reductions.choose("", tag, way)
            self._log_scalar(tag, "", step, wall_time, number, given_step)
            return
        is_whole = given_step == step
        if way is None and is_whole and self._log_known_curves(tag, step, wall_time, value):
            return
        # All are checked before the first is logged.
        values = [
            (name, arguments.sub_run(tag, name), capture.scalar(item, f"value[{name!r}]"))
            for name, item in value.items()
        ]
        if way is not None:
            for _, sub_run, _ in values:
                self._reductions.choose(sub_run, tag, way)
            if is_whole and self._log_known_curves(tag, step, wall_time, value):
                return
        for name, _, number in values:
            self._log_scalar(tag, name, step, wall_time, number, given_step)
        if all(type(number) is float for *_, number in values):
            self._learn_curves(tag, tuple(value))
