"""Text, audio, tensors, graphs, hyperparameters, meshes, the custom scalars page."""

from __future__ import annotations

from typing import Any

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from google.protobuf.message import DecodeError, Message

from boardd.events import graph, plugins
from boardd.events.custom_scalars import Category, Chart, custom_scalars_value
from boardd.events.event_pb2 import Summary
from boardd.events.graph import GraphNode
from boardd.events.graph_pb2 import GraphDef
from boardd.events.hparams import HParam, hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.tensors import scalar_tensor_value, tensor_proto, tensor_value
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
    """A tensor as it is, or a scalar of its dtype. Raises ``InvalidTensorError``."""
    options, array = source.payload.tensor, source.arrays[0]
    if not options.is_scalar:
        return ReductionOutput([tensor_value(source.tag, array)])
    return ReductionOutput(
        [
            scalar_tensor_value(
                source.tag,
                array,
                display_name=options.display_name,
                description=options.description,
                double_precision=options.double_precision,
            )
        ]
    )


def summarize_ready(source: ReductionInput) -> ReductionOutput:
    """A message of the user's. Raises ``InvalidRecordError`` and ``InvalidTensorError``."""
    array = source.arrays[0]
    if array.dtype != np.uint8 or array.ndim != 1:
        raise InvalidTensorError(
            f"a message as {array.dtype} of shape {array.shape}; give its bytes, uint8 [n]"
        )
    data = array.tobytes()
    if source.payload.ready.is_graph:
        if not _read(GraphDef, data).node:
            raise InvalidRecordError("a graph without nodes")
        return ReductionOutput(graph_def=data)
    value = _read(Summary.Value, data)
    if value.WhichOneof("value") is None:
        if not value.metadata.plugin_data.plugin_name:
            raise InvalidRecordError("a summary value of a form that this daemon does not know")
        # PyTorch's hyperparameters are metadata alone, which TensorBoard takes for no series.
        value.tensor.CopyFrom(tensor_proto(np.zeros((), np.float32)))
    value.tag = source.tag
    return ReductionOutput([value])


def _read(message: type[Message], data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InvalidRecordError(f"no {message.DESCRIPTOR.name}: {error}") from error


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
            GraphNode(
                node.name,
                node.op,
                node.inputs,
                node.attributes,
                [shape.sizes for shape in node.output_shapes],
            )
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
    names = list(message.names) or sorted(message.hparams)
    if set(names) != set(message.hparams) or len(names) != len(message.hparams):
        raise InvalidRecordError("the names of the hyperparameters are not those that have values")
    hparams = {name: _hparam(name, message.hparams[name]) for name in names}
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
