"""boardd's writer, with what the drop-ins need beyond its public calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boardd_protos import boardd_pb2 as pb

from boardd_client import capture
from boardd_client.calls import arguments, payloads
from boardd_client.calls.experiments import GRAPH_TAG
from boardd_client.writer import SummaryWriter


class CoreWriter(SummaryWriter):
    """See the module."""

    def add_number(self, tag: str, value: Any, global_step: Any, walltime: float | None) -> None:
        """Logs a scalar; the curves that ``add_scalar`` takes by name are refused."""
        if isinstance(value, (Mapping, Sequence)):
            raise TypeError(
                f"scalar_value is a {arguments.kind(value)}, expected a number or one element; "
                "for several curves, call add_scalars"
            )
        self.add_scalar(tag, value, global_step, walltime=walltime)

    def add_curve(
        self, sub_run: str, tag: str, value: Any, global_step: Any, walltime: float | None
    ) -> None:
        """Logs a scalar in a sub-run of that name. Raises as ``add_scalar``."""
        name = arguments.run(sub_run)
        step = arguments.step(global_step)
        number = capture.scalar(value, "value")
        self._log_number(arguments.tag(tag), step, number, sub_run=name, walltime=walltime)

    def add_nodes(self, graph: pb.Graph) -> None:
        """Logs the structure of a network. Raises ``ValueError`` for one above 1 MiB."""
        self._log_summary(GRAPH_TAG, 0, payloads.graph(graph), kind=None)

    def nudge(self) -> None:
        """Has what was logged sent soon; returns at once."""
        run = self._attached
        if run is not None:
            run.sender.wake()


class NoWriter:
    """Takes every call and logs nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and copies of it ask for
            raise AttributeError(name)
        return _do_nothing


def _do_nothing(*arguments: Any, **named: Any) -> None:
    pass
