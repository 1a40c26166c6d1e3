"""The smaller kinds of payload; what TensorBoard makes of their values is tested elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
from boardd.events import plugins, values
from boardd.events.custom_scalars import Category, Chart, custom_scalars_value
from boardd.events.event_pb2 import Summary
from boardd.events.graph import GraphNode, graph_def
from boardd.events.hparams import hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.tensors import (
    plugin_value,
    scalar_tensor_value,
    tensor_proto,
    tensor_value,
)
from boardd.reduce.audio import encode_wav
from boardd.reduce.pr_curve import pr_curve
from boardd.summaries.kinds import KINDS
from boardd_protos import boardd_pb2 as pb
from google.protobuf.message import Message
from support.summaries import (
    WALL_TIME,
    Record,
    check_rejected,
    event_of,
    record,
    reduction,
    values_of,
)

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.integers(0, 2, 50)
PREDICTIONS = RANDOM.random(50).astype(np.float32)
WEIGHTS = RANDOM.random(50)
CURVE = pr_curve(TRUTH, PREDICTIONS, 11)
VERTICES = RANDOM.normal(size=(1, 4, 3)).astype(np.float32)
COLORS = RANDOM.integers(0, 256, (1, 4, 3), np.uint8)
FACES = np.array([[[0, 1, 2], [1, 2, 3]]], np.int32)
SYMBOL = json.dumps(
    {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "null", "name": "fc_weight", "inputs": []},
            {
                "op": "FullyConnected",
                "name": "fc",
                "attrs": {"num_hidden": "3"},
                "inputs": [[0, 0, 0], [1, 0, 0]],
            },
        ]
    }
)


def encoded(message: Message) -> np.ndarray:
    return np.frombuffer(message.SerializeToString(), np.uint8)


def test_every_kind_of_the_wire_is_known() -> None:
    kinds = {field.name for field in pb.Payload.DESCRIPTOR.oneofs_by_name["summary"].fields}
    assert {*KINDS, "histograms"} == kinds  # those are of several series: see series.py


@pytest.mark.parametrize(
    ("message", "expected", "kinds"),
    [
        (
            record(text=pb.Text(markdown="# größe")),
            [plugins.text_value("tag", "# größe")],
            {"tag": "text"},
        ),
        (
            record(PREDICTIONS, audio=pb.Audio(sample_rate=8000)),
            [plugins.audio_value("tag", encode_wav(PREDICTIONS, 8000).data)],
            {"tag": "audio"},
        ),
        (
            record(FACES, tensor=pb.TensorSummary()),
            [tensor_value("tag", FACES)],
            {"tag": "tensor"},
        ),
        (
            record(
                np.array([0.1]),
                tensor=pb.TensorSummary(is_scalar=True, display_name="name", description="*why*"),
            ),
            [
                scalar_tensor_value(
                    "tag", np.array(0.1, np.float32), display_name="name", description="*why*"
                )
            ],
            {"tag": "scalar"},
        ),
        (
            record(np.array([0.1]), tensor=pb.TensorSummary(is_scalar=True, double_precision=True)),
            [scalar_tensor_value("tag", np.array(0.1), double_precision=True)],
            {"tag": "scalar"},
        ),
        (
            record(encoded(values.scalar_value("another", 0.5)), ready=pb.Ready()),
            [values.scalar_value("tag", 0.5)],
            {"tag": "scalar"},
        ),
        (
            record(
                encoded(plugin_value("another", tensor_proto(FACES), "of others")),
                ready=pb.Ready(),
            ),
            [plugin_value("tag", tensor_proto(FACES), "of others")],
            {},
        ),
        (
            record(TRUTH, PREDICTIONS, pr_curve=pb.PrCurve(num_thresholds=11)),
            [plugins.pr_curve_value("tag", *CURVE.rows())],
            {"tag": "pr curve"},
        ),
        (
            record(TRUTH, PREDICTIONS, WEIGHTS, pr_curve=pb.PrCurve(num_thresholds=11)),
            [plugins.pr_curve_value("tag", *pr_curve(TRUTH, PREDICTIONS, 11, WEIGHTS).rows())],
            {"tag": "pr curve"},
        ),
        (
            record(*CURVE.rows(), pr_curve_raw=pb.PrCurveRaw(num_thresholds=11)),
            [plugins.pr_curve_value("tag", *CURVE.rows())],
            {"tag": "pr curve"},
        ),
        (
            record(
                np.array([1.0, 2.0]),
                np.array([3, 4]),
                histogram_raw=pb.HistogramRaw(min=0.5, max=1.5, num=7, sum=6, sum_squares=8),
            ),
            [
                Summary.Value.FromString(
                    values.histogram_raw_value(
                        "tag",
                        min=0.5,
                        max=1.5,
                        num=7,
                        sum=6,
                        sum_squares=8,
                        limits=np.array([1.0, 2.0]),
                        counts=np.array([3, 4]),
                    ).data
                )
            ],
            {"tag": "histogram"},
        ),
        (
            record(VERTICES, mesh=pb.Mesh()),
            mesh_values("tag", VERTICES),
            {"tag_VERTEX": "mesh"},
        ),
        (
            record(
                VERTICES,
                FACES,
                COLORS,
                mesh=pb.Mesh(faces_tensor=1, colors_tensor=2, config_json='{"a": {}}'),
            ),
            mesh_values("tag", VERTICES, FACES, COLORS, '{"a": {}}'),
            {"tag_VERTEX": "mesh", "tag_FACE": "mesh", "tag_COLOR": "mesh"},
        ),
        (
            record(
                hparams=pb.HParams(
                    hparams={
                        "rate": pb.HParamValue(number=0.1),
                        "optimizer": pb.HParamValue(text="sgd"),
                        "warm": pb.HParamValue(flag=False),
                    },
                    metrics=["accuracy"],
                    domains=[
                        pb.HParamDomain(
                            hparam="optimizer",
                            values=[pb.HParamValue(text="adam"), pb.HParamValue(text="sgd")],
                        )
                    ],
                )
            ),
            hparams_values(
                {"optimizer": "sgd", "rate": 0.1, "warm": False},
                ["accuracy"],
                {"optimizer": ["adam", "sgd"]},
                session_secs=WALL_TIME,
            ),
            {
                "_hparams_/experiment": "hparam",
                "_hparams_/session_start_info": "hparam",
                "_hparams_/session_end_info": "hparam",
            },
        ),
        (
            record(
                custom_scalars=pb.CustomScalars(
                    categories=[
                        pb.ChartCategory(
                            title="both",
                            charts=[
                                pb.Chart(title="lines", tags=["loss.*"]),
                                pb.Chart(title="band", is_margin=True, tags=["v", "l", "u"]),
                            ],
                        )
                    ]
                )
            ),
            [
                custom_scalars_value(
                    [
                        Category(
                            "both", [Chart("lines", ["loss.*"]), Chart("band", list("vlu"), True)]
                        )
                    ]
                )
            ],
            {"custom_scalars__config__": "custom scalar"},
        ),
    ],
    ids=lambda item: item.payload.WhichOneof("summary") if isinstance(item, Record) else "",
)
def test_values_and_their_kinds(
    message: Record, expected: list[Summary.Value], kinds: dict[str, str]
) -> None:
    assert values_of(message) == expected
    found = reduction(message).kinds
    assert {tag.decode(): kind.value for tag, kind in found.items()} == kinds


NODES = [GraphNode("a/x", "Input"), GraphNode("a/y", "Add", ["a/x"], {"shape": "[1, 2]"})]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (
            pb.Graph(
                nodes=pb.GraphNodes(
                    nodes=[
                        pb.GraphNode(name="a/x", op="Input"),
                        pb.GraphNode(
                            name="a/y", op="Add", inputs=["a/x"], attributes={"shape": "[1, 2]"}
                        ),
                    ]
                )
            ),
            graph_def(NODES),
        ),
        (
            pb.Graph(mxnet_json=SYMBOL),
            graph_def(
                [
                    GraphNode("data", "null"),
                    GraphNode("fc/fc_weight", "null"),
                    GraphNode(
                        "fc/fc",
                        "FullyConnected",
                        ["data", "fc/fc_weight"],
                        {"param": "{ num_hidden :  3 }"},
                    ),
                ]
            ),
        ),
    ],
    ids=["nodes", "mxnet"],
)
def test_graphs(graph: pb.Graph, expected: bytes) -> None:
    made = reduction(record(graph=graph))
    assert event_of(made).graph_def == expected
    assert not made.kinds


@pytest.mark.parametrize(
    ("message", "reason", "match"),
    [
        (record(graph=pb.Graph()), pb.INVALID_RECORD, "of a kind"),
        (record(graph=pb.Graph(nodes=pb.GraphNodes())), pb.INVALID_RECORD, "without nodes"),
        (record(graph=pb.Graph(mxnet_json='{"nodes": []}')), pb.INVALID_RECORD, "without nodes"),
        (record(graph=pb.Graph(mxnet_json="{")), pb.INVALID_RECORD, "no JSON"),
        (record(FACES, text=pb.Text(markdown="x")), pb.INVALID_TENSOR, "1 tensors; a text has 0"),
        (record(TRUTH, pr_curve=pb.PrCurve()), pb.INVALID_TENSOR, "has 2 to 3"),
        (
            record(TRUTH, PREDICTIONS, pr_curve=pb.PrCurve(num_thresholds=1)),
            pb.INVALID_TENSOR,
            "1 thresholds",
        ),
        (
            record(TRUTH, PREDICTIONS + 1, pr_curve=pb.PrCurve(num_thresholds=5)),
            pb.INVALID_TENSOR,
            "predictions",
        ),
        (
            record(*CURVE.rows(), pr_curve_raw=pb.PrCurveRaw(num_thresholds=10)),
            pb.INVALID_TENSOR,
            "10 thresholds",
        ),
        (
            record(np.ones(2), np.ones(3), histogram_raw=pb.HistogramRaw()),
            pb.INVALID_RECORD,
            "limits of shape",
        ),
        (record(FACES, audio=pb.Audio(sample_rate=1)), pb.INVALID_TENSOR, "int32"),
        (record(PREDICTIONS, audio=pb.Audio()), pb.INVALID_TENSOR, "sample rate of 0"),
        (
            record(hparams=pb.HParams(hparams={"rate": pb.HParamValue()})),
            pb.INVALID_RECORD,
            "'rate' has no value",
        ),
        (
            record(
                hparams=pb.HParams(
                    domains=[
                        pb.HParamDomain(
                            hparam="rate",
                            values=[pb.HParamValue(number=1), pb.HParamValue(text="1")],
                        )
                    ]
                )
            ),
            pb.INVALID_RECORD,
            "several types",
        ),
        (record(FACES[0], mesh=pb.Mesh()), pb.INVALID_TENSOR, "vertices"),
        (record(VERTICES, mesh=pb.Mesh(config_json="[]")), pb.INVALID_RECORD, "JSON object"),
        (record(VERTICES, FACES, mesh=pb.Mesh()), pb.INVALID_RECORD, "to be named once"),
        (record(VERTICES, mesh=pb.Mesh(faces_tensor=1)), pb.INVALID_RECORD, "to be named once"),
        (record(VERTICES, mesh=pb.Mesh(faces_tensor=-1)), pb.INVALID_RECORD, "faces names -1"),
        (
            record(VERTICES, FACES, mesh=pb.Mesh(faces_tensor=1, colors_tensor=1)),
            pb.INVALID_RECORD,
            "to be named once",
        ),
        (
            record(
                custom_scalars=pb.CustomScalars(
                    categories=[pb.ChartCategory(charts=[pb.Chart(title="empty")])]
                )
            ),
            pb.INVALID_RECORD,
            "no tags",
        ),
    ],
)
def test_what_is_rejected(message: Record, reason: int, match: str) -> None:
    check_rejected(message, reason, match)


@pytest.mark.parametrize(
    ("given", "reason", "match"),
    [
        (record(np.zeros(3), ready=pb.Ready()), pb.INVALID_TENSOR, "uint8"),
        (record(np.full(3, 255, np.uint8), ready=pb.Ready()), pb.INVALID_RECORD, "no Value"),
        (record(np.zeros(0, np.uint8), ready=pb.Ready()), pb.INVALID_RECORD, "of a form"),
        (
            record(np.zeros(0, np.uint8), ready=pb.Ready(is_graph=True)),
            pb.INVALID_RECORD,
            "without nodes",
        ),
        (
            record(np.zeros(2), tensor=pb.TensorSummary(is_scalar=True)),
            pb.INVALID_TENSOR,
            "one element",
        ),
        (
            record(hparams=pb.HParams(hparams={"a": pb.HParamValue(number=1)}, names=["b"])),
            pb.INVALID_RECORD,
            "names of the hyperparameters",
        ),
    ],
)
def test_what_is_no_message_or_scalar_is_rejected(given: Record, reason: int, match: str) -> None:
    check_rejected(given, reason, match)


def test_a_ready_value_may_be_metadata_alone() -> None:
    """As PyTorch's hyperparameters are."""
    value = Summary.Value(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = b"content"
    data = np.frombuffer(value.SerializeToString(), np.uint8)
    (written,) = values_of(record(data, ready=pb.Ready()))
    assert written.metadata == value.metadata
    assert written.HasField("tensor")


def test_a_ready_graph_is_written_as_it_is() -> None:
    data = graph_def([GraphNode("a", "x", output_shapes=[[2, 3]])])
    given = record(np.frombuffer(data, np.uint8), ready=pb.Ready(is_graph=True))
    assert event_of(reduction(given)).graph_def == data


def test_hyperparameters_keep_their_order() -> None:
    hparams = {"z": pb.HParamValue(number=1), "a": pb.HParamValue(text="x")}
    given = record(hparams=pb.HParams(hparams=hparams, names=["z", "a"], metrics=["m"]))
    expected = hparams_values({"z": 1.0, "a": "x"}, ["m"], session_secs=WALL_TIME)
    assert values_of(given) == expected
    assert expected != hparams_values({"a": "x", "z": 1.0}, ["m"], session_secs=WALL_TIME)
