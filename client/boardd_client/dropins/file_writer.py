"""``FileWriter``: ready messages, as libraries log them beneath a ``SummaryWriter``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

from boardd_client.dropins.core_writer import CoreWriter
from boardd_client.dropins.defaults import Defaults

#: What is shown of events. The daemon writes those that begin a file or a session.
_SHOWN: Final = ("summary", "graph_def")


class FileWriter:
    """Logs ready ``Summary`` and ``Event`` messages to the run of ``core``."""

    def __init__(self, core: CoreWriter, logdir: str, defaults: Defaults) -> None:
        self._core = core
        self._logdir = logdir
        self._defaults = defaults

    def get_logdir(self) -> str:
        """The log directory as it was given."""
        return self._logdir

    def add_summary(
        self, summary: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Logs the values of a ``Summary``. Raises ``TypeError`` and ``ValueError`` for no such."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_summary(summary, step, walltime=seconds)

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Logs the summary or the graph of an ``Event``; any other event is left out.

        Raises ``TypeError`` and ``ValueError`` for a summary or a graph that is none.
        """
        if event.WhichOneof("what") in _SHOWN:
            step, seconds = self._defaults.of(step, walltime)
            self._core.add_event(event, step, walltime=seconds)

    def add_graph(self, graph_profile: Any, walltime: float | None = None) -> None:
        """Logs a network.

        ``graph_profile`` is a pair of a ``GraphDef`` and its step statistics, which are left out:
        TensorBoard shows no such statistics.
        """
        self.add_onnx_graph(graph_profile[0], walltime)

    def add_onnx_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Logs a ``GraphDef``."""
        self._core.add_graph_def(graph.SerializeToString(), walltime=walltime)

    def use_metadata(
        self, *, global_step: Any = None, walltime: float | None = None
    ) -> AbstractContextManager[FileWriter]:
        """Gives records without a step or wall time these, until the block ends.

        Raises ``ValueError`` for neither of them, and within another such block.
        """
        return self._defaults.set(self, global_step, walltime)

    def flush(self) -> None:
        """Has what was logged sent soon; returns at once."""
        self._core.nudge()

    def close(self) -> None:
        """Waits until everything is written, 30 s at most. What is logged later opens it again."""
        self._core.close()
        self._core.reopen()

    def reopen(self) -> None:
        """Does nothing: whatever is logged opens a closed writer."""
