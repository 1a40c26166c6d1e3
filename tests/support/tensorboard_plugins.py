"""Asks TensorBoard's plugins what they hand to the browser.

The plugin runs in this process on a ``Reader``'s data; its own routes answer, so
what comes back is what the page gets.

    with open_reader(logdir, "rust") as reader:
        text = PluginClient(TextPlugin, reader, logdir).json("/text", run="run", tag="notes")
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from support.tensorboard_reader import Reader

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard bundles
    from tensorboard.plugins.audio.audio_plugin import AudioPlugin
    from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
    from tensorboard.plugins.graph.graphs_plugin import GraphsPlugin
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from tensorboard.plugins.image.images_plugin import ImagesPlugin
    from tensorboard.plugins.mesh.mesh_plugin import MeshPlugin
    from tensorboard.plugins.pr_curve.pr_curves_plugin import PrCurvesPlugin
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
    from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
    from tensorboard.plugins.text.text_plugin import TextPlugin

__all__ = [
    "AudioPlugin",
    "CustomScalarsPlugin",
    "GraphsPlugin",
    "HParamsPlugin",
    "ImagesPlugin",
    "MeshPlugin",
    "PluginClient",
    "PrCurvesPlugin",
    "ProjectorPlugin",
    "ScalarsPlugin",
    "TextPlugin",
]


class PluginClient:
    """One plugin's routes. ``logdir`` matters to the projector, which reads files itself."""

    def __init__(
        self, plugin: type[base_plugin.TBPlugin], reader: Reader, logdir: Path | str
    ) -> None:
        beside: dict[str, base_plugin.TBPlugin] = {}
        context = base_plugin.TBContext(
            data_provider=reader.data_provider,
            logdir=str(logdir),
            plugin_name_to_instance=beside,
        )
        scalars = ScalarsPlugin(context)  # which custom scalars asks
        beside[scalars.plugin_name] = scalars
        self.plugin = plugin(context)
        self._routes = self.plugin.get_plugin_apps()

    def get(self, route: str, **query: Any) -> bytes:
        """The body that ``route`` answers; fails on any status but 200."""
        answer = Client(self._routes[route]).get(route, query_string=query)
        assert answer.status_code == 200, f"{route} {query}: {answer.status} {answer.text}"
        return answer.data

    def json(self, route: str, **query: Any) -> Any:
        """The JSON that ``route`` answers to GET."""
        return json.loads(self.get(route, **query))

    def post(self, route: str, request: dict[str, Any]) -> Any:
        """The JSON that ``route`` answers to a JSON request."""
        answer = Client(self._routes[route]).post(route, json=request)
        assert answer.status_code == 200, f"{route} {request}: {answer.status} {answer.text}"
        return json.loads(answer.data)
