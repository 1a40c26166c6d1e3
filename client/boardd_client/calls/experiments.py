"""Records of a run as a whole: its graph, its hyperparameters, the layout of its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boardd_protos.summary_kind import SummaryKind
from boardd_protos.tags import CUSTOM_SCALARS_TAG, HPARAMS_TAG

from boardd_client import capture
from boardd_client.calls import arguments, charts, graphs, hparams, payloads
from boardd_client.calls.base import Calls

#: A graph has no tag in an event file; its record needs one.
GRAPH_TAG = "__run_graph__"


class ExperimentCalls(Calls):
    """See the module."""

    def add_graph(self, net: Any, input_to_model: Any = None, *, strict: bool = False) -> None:
        """Logs the structure of a network.

        The call reads an MXNet network as it is. It traces a torch module: the module runs
        once, on the caller's thread, in evaluation mode and without gradients.

        Args:
            net: an ``mxnet.symbol.Symbol``; an ``mxnet.gluon.HybridBlock`` that was
                hybridized and run once; or a ``torch.nn.Module``.
            input_to_model: the tensor, or the tuple of arguments, to call a torch module
                with.
            strict: whether a torch module that returns a dict or a list is refused.

        Raises:
            TypeError, ValueError: not as described, or a graph above 1 MiB.
            RuntimeError: a HybridBlock that was not hybridized and run, or a module that
                cannot be traced.
        """
        payload = payloads.graph(graphs.graph(net, input_to_model, strict=strict))
        self._log_summary(GRAPH_TAG, 0, payload, kind=None)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        name: str | None = None,
        global_step: Any = None,
        *,
        domains: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Logs hyperparameters and the results that they led to, as a sub-run.

        Args:
            hparam_dict: names and values: bool, number or str. A dict, a ``Namespace`` or a
                dataclass becomes hyperparameters ``<name>/<name there>``; lists and the
                like, and paths, become text; an enum or a callable counts as its name, an enum
                of texts as its text; anything else whose class says what it is, such as a
                device, a dtype or a date, as what ``str`` says. None is left out.
            metric_dict: names and values, as ``add_scalar`` takes one.
            name: name of the sub-run, ``"."`` for the run itself. Default: the time in
                seconds; for a rank of several a hash of ``hparam_dict``, so that all ranks
                that have the same share it.
            global_step: the metrics' step; None is 0.
            domains: the values that a hyperparameter may have, by its name.

        Raises:
            TypeError, ValueError: not as described.
        """
        step = arguments.step(global_step)
        values = hparams.values(hparam_dict)
        if name is not None:
            sub_run = "" if name == "." else arguments.run(name)
        elif self._ranks.is_one_of_several:
            sub_run = hparams.digest(values)
        else:
            sub_run = str(self._wall_time())
        if not isinstance(metric_dict, Mapping):
            raise TypeError(f"metric_dict is a {arguments.kind(metric_dict)}, expected a dict")
        metrics = {
            arguments.tag(tag): capture.scalar(value, f"metric_dict[{tag!r}]")
            for tag, value in metric_dict.items()
        }
        tags = map(self._shown_tag, metrics)
        payload = payloads.hparams(values, tags, hparams.domains(domains))
        self._log_summary(HPARAMS_TAG, step, payload, kind=SummaryKind.HPARAM, sub_run=sub_run)
        for tag, value in metrics.items():
            self._log_number(tag, step, value, sub_run=sub_run)

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Lays out the custom scalars page; the last layout of a run counts.

        Args:
            layout: ``{category: {chart: [kind, tags]}}``, where kind is ``"Multiline"``
                with tags (regular expressions), or ``"Margin"`` with the tags of value,
                lower and upper bound.

        Raises:
            TypeError, ValueError: not as described.
        """
        payload = payloads.custom_scalars(charts.categories(layout, self._shown_tag))
        self._log_summary(CUSTOM_SCALARS_TAG, 0, payload, kind=SummaryKind.CUSTOM_SCALAR)

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Lays out the custom scalars page as one chart of several curves.

        Args:
            tags: regular expressions; the chart shows curves whose tags match one.
            category: heading of the chart.
            title: title of the chart.

        Raises:
            TypeError, ValueError: not as described.
        """
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Lays out the custom scalars page as one curve with a band around it.

        Args:
            tags: three tags: of the value, of its lower and of its upper bound.
            category: heading of the chart.
            title: title of the chart.

        Raises:
            TypeError, ValueError: not as described.
        """
        self.add_custom_scalars({category: {title: ["Margin", tags]}})
