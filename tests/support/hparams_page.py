"""What TensorBoard's page of hyperparameters shows of a logdir."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from support.tensorboard_plugins import HParamsPlugin, PluginClient
from support.tensorboard_reader import open_reader

_MOST_ROWS = 100


class Row(NamedTuple):
    """A run's hyperparameters and the last values of its metrics, by name."""

    hparams: dict[str, Any]
    metrics: dict[str, float]


def read_hparams_page(logdir: Path) -> dict[str, Row]:
    """The rows of the page, by run."""
    request = {"allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": _MOST_ROWS}
    with open_reader(logdir) as reader:
        plugin = PluginClient(HParamsPlugin, reader, logdir)
        groups = plugin.post("/session_groups", request)["sessionGroups"]
    return {
        session["name"] or ".": Row(
            group["hparams"],
            {each["name"]["tag"]: each["value"] for each in session["metricValues"]},
        )
        for group in groups
        for session in group["sessions"]
    }
