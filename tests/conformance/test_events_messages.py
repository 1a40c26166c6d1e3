"""The messages of summaries: TensorBoard's own fields, and nothing its data server objects to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.events import event, graph_pb2, plugins_pb2, projector_pb2
from boardd.events.custom_scalars import custom_scalars_value
from boardd.events.graph import graph_def
from boardd.events.hparams import hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.plugins import audio_value, pr_curve_value, text_value
from boardd.events.tensors import tensor_value
from boardd.runs.event_files.event_file import EventFile
from google.protobuf.descriptor_pb2 import DescriptorProto
from support.plugin_values import COLORS, CURVE, FACES, HPARAMS, NODES, VERTICES, add, wav_file
from support.tensorboard_reader import DataServer
from tensorboard.compat.proto import graph_pb2 as tensorboard_graph_pb2
from tensorboard.plugins.audio import plugin_data_pb2 as audio_plugin_data_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_plugin_data_pb2
from tensorboard.plugins.mesh import plugin_data_pb2 as mesh_plugin_data_pb2
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_plugin_data_pb2
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.plugins.text import plugin_data_pb2 as text_plugin_data_pb2


def test_data_server_finds_no_fault(writer: EventFile, tmp_path: Path) -> None:
    add(writer, 1, text_value("t", "text"))
    add(writer, 1, audio_value("a", wav_file(np.zeros((10, 1)), 8000)))
    add(writer, 1, pr_curve_value("p", **CURVE))
    add(writer, 1, mesh_values("m", VERTICES, FACES, COLORS))
    add(writer, 1, hparams_values(HPARAMS, []))
    add(writer, 1, custom_scalars_value([]))
    add(writer, 1, tensor_value("x", VERTICES))
    writer.append(event.graph(1.0, 1, graph_def(NODES)))
    with DataServer(tmp_path) as server:
        assert server.reader.runs() == ["run"]
        log = server.log()
    assert "Finished load cycle" in log
    assert "WARN" not in log
    assert "ERROR" not in log


def described(descriptor: Any, seen: dict[str, Any]) -> dict[str, Any]:
    """Fields by message and name, and the numbers of enums, of a message and all it holds."""
    message = DescriptorProto()
    descriptor.CopyToProto(message)
    for field, stated in zip(descriptor.fields, message.field, strict=True):
        key = f"{descriptor.name}.{field.name}"
        if key in seen:
            continue
        seen[key] = (stated.number, stated.type, stated.label, stated.HasField("oneof_index"))
        if field.message_type is not None:
            described(field.message_type, seen)
        if field.enum_type is not None:
            numbers = {value.name: value.number for value in field.enum_type.values}
            seen[f"{key} is one of"] = numbers
    return seen


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (plugins_pb2.TextPluginData, text_plugin_data_pb2.TextPluginData),
        (plugins_pb2.AudioPluginData, audio_plugin_data_pb2.AudioPluginData),
        (plugins_pb2.PrCurvePluginData, pr_curve_plugin_data_pb2.PrCurvePluginData),
        (plugins_pb2.MeshPluginData, mesh_plugin_data_pb2.MeshPluginData),
        (plugins_pb2.Layout, layout_pb2.Layout),
        (plugins_pb2.HParamsPluginData, hparams_plugin_data_pb2.HParamsPluginData),
        (graph_pb2.GraphDef, tensorboard_graph_pb2.GraphDef),
        (projector_pb2.ProjectorConfig, projector_config_pb2.ProjectorConfig),
    ],
)
def test_messages_are_tensorboards(ours: Any, theirs: Any) -> None:
    our_fields = described(ours.DESCRIPTOR, {})
    their_fields = described(theirs.DESCRIPTOR, {})
    assert our_fields
    for key, fields in our_fields.items():
        if isinstance(fields, dict):
            assert fields.items() <= their_fields[key].items(), key
        else:
            assert fields == their_fields[key], key


def test_mesh_configuration_of_tensorboardx_is_taken() -> None:
    # Which writes "null" where there is none.
    (value,) = mesh_values("m", VERTICES, config_json=json.dumps(None))
    content = value.metadata.plugin_data.content
    assert mesh_plugin_data_pb2.MeshPluginData.FromString(content).json_config == ""
