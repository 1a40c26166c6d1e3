"""Text, audio, tensors, graphs, hyperparameters, meshes, the custom scalars page."""

from __future__ import annotations

from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError

from boardd.events import graph, plugins
from boardd.events.custom_scalars import Category, Chart, custom_scalars_value
from boardd.events.graph import GraphNode
from boardd.events.hparams import HParam, hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.tensors import tensor_value
from boardd.reduce.audio import encode_wav
from boardd.reduce.graph import symbol_nodes
from boardd.summaries.reduction import ReductionInput, ReductionOutput, named_arrays


def summarize_text(source: ReductionInput) -> ReductionOutput:
    """A text in Markdown."""
    return ReductionOutput([plugins.text_value(source.tag, source.payload.text.markdown)])


def summarize_audio(source: ReductionInput) -> ReductionOutput:
    """A clip. Raises ``InvalidTensorError``."""
    wav = encode_wav(source.arrays[0], source.payload.audio.sample_rate)
    return ReductionOutput([plugins.audio_value(source.tag, wav.data)])


def summarize_tensor(source: ReductionInput) -> ReductionOutput:
    """A tensor as it is. Raises ``InvalidTensorError``."""
    return ReductionOutput([tensor_value(source.tag, source.arrays[0])])


def summarize_graph(source: ReductionInput) -> ReductionOutput:
    """A network. Raises ``InvalidRecordError``."""
    message = source.payload.graph
    kind = message.WhichOneof("graph")
    if kind == "mxnet_json":
        nodes = [
            GraphNode(
                node.name, node.op, node.inputs, {} if node.param is None else {"param": node.param}
            )
            for node in symbol_nodes(message.mxnet_json)
        ]
    elif kind == "nodes":
        nodes = [
            GraphNode(node.name, node.op, node.inputs, node.attributes)
            for node in message.nodes.nodes
        ]
    else:
        raise InvalidRecordError("a graph of a kind that this daemon does not know")
    if not nodes:
        raise InvalidRecordError("a graph without nodes")
    return ReductionOutput(graph_def=graph.graph_def(nodes))


def summarize_hparams(source: ReductionInput) -> ReductionOutput:
    """A run's hyperparameters. Raises ``InvalidRecordError``."""
    message = source.payload.hparams
    # A map has no certain order.
    hparams = {name: _hparam(name, message.hparams[name]) for name in sorted(message.hparams)}
    domains = {}
    for domain in message.domains:
        found = [_hparam(domain.hparam, value) for value in domain.values]
        if len(set(map(type, found))) > 1:
            raise InvalidRecordError(
                f"hyperparameter {domain.hparam!r} has a domain of several types"
            )
        domains[domain.hparam] = found
    return ReductionOutput(
        hparams_values(hparams, message.metrics, domains, session_secs=source.wall_time)
    )


def _hparam(name: str, message: pb.HParamValue) -> HParam:
    kind = message.WhichOneof("value")
    if kind is None:
        raise InvalidRecordError(f"hyperparameter {name!r} has no value")
    value: HParam = getattr(message, kind)
    return value


def summarize_mesh(source: ReductionInput) -> ReductionOutput:
    """Meshes or point clouds. Raises ``InvalidTensorError`` and ``InvalidRecordError``."""
    message = source.payload.mesh
    named = named_arrays(source, colors=message.colors_tensor, faces=message.faces_tensor)
    return ReductionOutput(
        mesh_values(
            source.tag, source.arrays[0], named["faces"], named["colors"], message.config_json
        )
    )


def summarize_custom_scalars(source: ReductionInput) -> ReductionOutput:
    """The layout of the custom scalars page. Raises ``InvalidRecordError``."""
    categories = [
        Category(
            category.title,
            [Chart(chart.title, chart.tags, chart.is_margin) for chart in category.charts],
        )
        for category in source.payload.custom_scalars.categories
    ]
    return ReductionOutput([custom_scalars_value(categories)])
