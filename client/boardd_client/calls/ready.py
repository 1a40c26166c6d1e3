"""Records in TensorFlow's own forms: scalars that are tensors, and ready messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from boardd_client import capture
from boardd_client.calls import arguments, payloads
from boardd_client.calls.base import Calls
from boardd_client.calls.experiments import GRAPH_TAG


class ReadyCalls(Calls):
    """See the module."""

    def add_scalar_tensor(
        self,
        tag: str,
        value: Any,
        global_step: Any = None,
        *,
        display_name: str = "",
        description: str = "",
        double_precision: bool = False,
        walltime: float | None = None,
    ) -> None:
        """Logs a number in the form of TensorFlow 2, which says more than that of ``add_scalar``.

        It is shown as other scalars are, and costs more than those. Ranks are not merged: the
        value of the lowest one is shown.

        Args:
            tag: name of the plot.
            value: a number, or an array of one element, which may still be computing.
            global_step: the step; None is 0.
            display_name: heading of the plot instead of the tag.
            description: Markdown that explains the plot.
            double_precision: whether it is stored as float64, for programs that read event
                files: TensorBoard shows no such scalars unless it is started with
                ``--load_fast=false``. Without it, as by ``add_scalar``, as float32.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        tensor = capture.tensor(value, "value")
        if tensor.size_bytes == 0 or any(length != 1 for length in tensor.shape):
            raise ValueError(f"value has the shape {tensor.shape}, expected one element")
        payload = payloads.scalar_tensor(
            tensor.dtype,
            tensor.shape,
            display_name=arguments.string(display_name, "display_name"),
            description=arguments.string(description, "description"),
            double_precision=bool(double_precision),
        )
        self._log_scalar_tensor(tag, step, payload, tensor, walltime)

    def add_summary(
        self, summary: Any, global_step: Any = None, *, walltime: float | None = None
    ) -> None:
        """Logs the values of a ``Summary`` message, each under its own tag.

        Ranks are not merged: what the lowest one logs is shown.

        Args:
            summary: TensorFlow's or TensorBoard's message.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        step = arguments.step(global_step)
        values = getattr(summary, "value", None)
        if values is None or not hasattr(summary, "SerializeToString"):
            raise TypeError(f"summary is a {arguments.kind(summary)}, expected a Summary message")
        for tag, value in [(arguments.tag(value.tag), value) for value in values]:
            self._log_ready(tag, step, value.SerializeToString(), walltime)

    def add_event(
        self, event: Any, global_step: Any = None, *, walltime: float | None = None
    ) -> None:
        """Logs what an ``Event`` message shows: the values of its summary, or its graph.

        Args:
            event: TensorFlow's or TensorBoard's message.
            global_step: the step; None is the event's.
            walltime: seconds since the epoch; None is the event's, or now if it has none.

        Raises:
            TypeError, ValueError: not as described, or another event, such as one that begins
                a session: those the daemon writes.
        """
        if not hasattr(event, "WhichOneof"):
            raise TypeError(f"event is a {arguments.kind(event)}, expected an Event message")
        step = arguments.step(event.step if global_step is None else global_step)
        seconds = (event.wall_time or None) if walltime is None else walltime
        what = event.WhichOneof("what")
        if what == "summary":
            self.add_summary(event.summary, step, walltime=seconds)
        elif what == "graph_def":
            self._log_ready(GRAPH_TAG, step, event.graph_def, seconds, is_graph=True)
        else:
            raise ValueError(f"an event with {what}, expected one with a summary or a graph_def")

    def add_graph_def(self, graph_def: bytes, *, walltime: float | None = None) -> None:
        """Logs a graph that is a serialized ``GraphDef`` already.

        Args:
            graph_def: TensorFlow's message, as its ``SerializeToString`` returns it.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        if not isinstance(graph_def, bytes):
            raise TypeError(f"graph_def is a {arguments.kind(graph_def)}, expected bytes")
        self._log_ready(GRAPH_TAG, 0, graph_def, walltime, is_graph=True)

    def _log_ready(
        self, tag: str, step: int, data: bytes, walltime: object, *, is_graph: bool = False
    ) -> None:
        tensor = capture.tensor(np.frombuffer(data, np.uint8), "message")
        payload = payloads.ready(tensor, is_graph=is_graph)
        self._log_summary(tag, step, payload, [tensor], kind=None, walltime=walltime)
