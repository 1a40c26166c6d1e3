from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd.events.custom_scalars import Category, Chart, custom_scalars_value
from boardd.events.event_pb2 import DT_DOUBLE, DT_FLOAT, Summary
from boardd.events.graph import GraphNode, graph_def
from boardd.events.hparams import hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.plugins import pr_curve_value, text_value
from boardd.events.plugins_pb2 import HParamsPluginData
from boardd.events.tensors import tensor_value
from boardd.events.values import histogram_raw_value
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError


def raises(error: type[Exception], message: str, make: Callable[[], object]) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dtype", ["complex64", "U3", "object", "datetime64[s]"])
def test_tensor_of_other_types(dtype: str) -> None:
    raises(InvalidTensorError, "a tensor of", lambda: tensor_value("t", np.zeros(2).astype(dtype)))


def test_text_that_utf8_cannot_hold() -> None:
    raises(ValueError, "surrogates", lambda: text_value("t", "\ud800"))


# PR curves


def pr_curve(**replaced: Any) -> Summary.Value:
    rows = {name: [1, 0] for name in ("tp", "fp", "tn", "fn", "precision", "recall")}
    return pr_curve_value("t", **{**rows, **replaced})


def test_pr_curve_is_float32_where_that_is_exact() -> None:
    assert pr_curve(tp=[2**24, 0]).tensor.dtype == DT_FLOAT
    assert pr_curve(tp=[2**24 + 1, 0]).tensor.dtype == DT_DOUBLE


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"fn": [1, 2, 3]}, r"fn has shape \(3,\)"),
        ({"tp": [[1, 0]]}, r"tp has shape \(1, 2\)"),
        ({name: [] for name in ("tp", "fp", "tn", "fn", "precision", "recall")}, "one length"),
        ({"recall": [np.nan, 1]}, "recall .* not finite"),
        ({"fp": [np.inf, 1]}, "fp .* not finite"),
        ({"fp": ["a", "b"]}, "fp .* not finite numbers"),
    ],
)
def test_pr_curve_that_is_refused(replaced: dict[str, Any], message: str) -> None:
    raises(InvalidTensorError, message, lambda: pr_curve(**replaced))


# Raw histograms


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": [1.0, 2.0]}, r"shape \(2,\) and counts of shape \(3,\)"),
        ({"limits": [[1.0, 2.0, 3.0]], "counts": [[1, 1, 1]]}, "a limit and a count"),
        ({"limits": [1.0, 3.0, 2.0]}, "do not ascend"),
        ({"limits": [1.0, np.nan, 2.0]}, "do not ascend"),
        ({"counts": [1, -1, 0]}, "negative"),
        ({"counts": [1, np.nan, 0]}, "not finite"),
        ({"counts": [1j, 0, 0]}, "complex"),
        ({"min": np.nan}, "from nan to 3"),
        ({"max": np.inf}, "to inf"),
    ],
)
def test_raw_histogram_that_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"min": 0.0, "max": 3.0, "limits": [1.0, 2.0, 3.0], "counts": [1, 1, 1], **options}
    given["limits"] = np.array(given["limits"])
    given["counts"] = np.array(given["counts"])
    raises(
        InvalidRecordError,
        message,
        lambda: histogram_raw_value("t", num=3, sum=3, sum_squares=3, **given),
    )


# Meshes

VERTICES = np.zeros((2, 4, 3))


@pytest.mark.parametrize(
    ("vertices", "faces", "colors", "message"),
    [
        (np.zeros((4, 3)), None, None, r"vertices .* shape \(4, 3\)"),
        (np.zeros((1, 4, 2)), None, None, r"vertices .* shape \(1, 4, 2\)"),
        (VERTICES.astype(complex), None, None, "vertices of complex"),
        (VERTICES, np.zeros((1, 2, 3)), None, "faces of 1 meshes for vertices of 2"),
        (VERTICES, np.full((2, 1, 3), 4), None, "faces from 4 to 4; they may be from 0 to 3"),
        (VERTICES, np.full((2, 1, 3), -1), None, "faces from -1"),
        (VERTICES, np.full((2, 1, 3), np.nan), None, "faces from nan"),
        (VERTICES, None, np.zeros((2, 5, 3)), "give each vertex a color"),
        (VERTICES, None, np.full((2, 4, 3), 256.0), "colors from 256"),
    ],
)
def test_mesh_that_is_refused(vertices: Any, faces: Any, colors: Any, message: str) -> None:
    raises(InvalidTensorError, message, lambda: mesh_values("t", vertices, faces, colors))


@pytest.mark.parametrize("config", ["{", "[]", "3", "[" * 100_000])
def test_mesh_configuration_that_is_refused(config: str) -> None:
    raises(
        InvalidRecordError,
        "mesh configuration",
        lambda: mesh_values("t", VERTICES, None, None, config),
    )


# Hyperparameters


def test_hparams_bytes_are_tensorboardxs() -> None:
    # Written by tensorboardX 2.6.5; the second is a map, here in the order of its keys.
    written = [
        "122822060a026c72200322070a036f7074200122070a0361756720022a0c0a0a12086163637572616379",
        "1a2a0a090a03617567120220010a0f0a026c72120911000000000000c03f0a0c0a036f707412051a03736764",
        "22020801",
    ]
    values = hparams_values({"lr": 0.125, "opt": "sgd", "aug": True}, ["accuracy"])
    assert [value.metadata.plugin_data.content.hex() for value in values] == written


def test_hparams_are_stored_by_type() -> None:
    value = hparams_values({"a": 1, "b": True, "c": "x", "d": float("nan")}, [])[0]
    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    kinds = {
        name: item.WhichOneof("kind") for name, item in data.session_start_info.hparams.items()
    }
    assert kinds == {
        "a": "number_value",
        "b": "bool_value",
        "c": "string_value",
        "d": "string_value",
    }


def test_every_hparams_value_has_a_tensor() -> None:
    values = hparams_values({}, ["accuracy"])
    assert [value.tag for value in values] == [
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
    ]
    assert all(value.HasField("tensor") for value in values)


def test_without_metrics_and_domains_nothing_is_listed() -> None:
    """TensorBoard then takes all scalars for metrics, instead of none."""
    listed = "_hparams_/experiment"
    assert listed not in {value.tag for value in hparams_values({"a": 1}, [])}
    assert listed in {value.tag for value in hparams_values({"a": 1}, [], {"a": [1, 2]})}


# Layouts and graphs


def test_layout_bytes_are_tensorboardxs() -> None:
    # Written by tensorboardX 2.6.5.
    written = "12280a014c120e0a04626f746812060a01610a016212130a0462616e641a0b0a090a016d12016c1a0175"
    charts = [Chart("both", ["a", "b"]), Chart("band", ["m", "l", "u"], is_margin=True)]
    value = custom_scalars_value([Category("L", charts)])
    assert value.tensor.string_val[0].hex() == written
    assert value.tag == "custom_scalars__config__"


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        (Chart("c", []), "'c' has no tags"),
        (Chart("c", ["value", "lower"], is_margin=True), "'c' has 2 tags"),
    ],
)
def test_chart_that_is_refused(chart: Chart, message: str) -> None:
    raises(InvalidRecordError, message, lambda: custom_scalars_value([Category("t", [chart])]))


def test_graph_with_a_name_twice() -> None:
    nodes = [GraphNode("a", "null"), GraphNode("a", "Add")]
    raises(InvalidRecordError, "two nodes are named 'a'", lambda: graph_def(nodes))


def test_equal_graphs_have_equal_bytes() -> None:
    attributes = {f"key{number}": str(number) for number in range(50)}
    turned = dict(reversed(attributes.items()))
    assert graph_def([GraphNode("a", "x", (), attributes)]) == graph_def(
        [GraphNode("a", "x", (), turned)]
    )
