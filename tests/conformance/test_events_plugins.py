"""The kinds of summary beyond scalars, histograms and images, as TensorBoard's plugins show them.

Through the Python and the Rust loader, and through each plugin's own routes.
"""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from boardd.events import event
from boardd.events.custom_scalars import Category, Chart, custom_scalars_value
from boardd.events.event_pb2 import Summary
from boardd.events.graph import graph_def
from boardd.events.hparams import hparams_values
from boardd.events.mesh import mesh_values
from boardd.events.plugins import audio_value, pr_curve_value, text_value
from boardd.events.tensors import tensor_value
from boardd.events.values import histogram_raw_value, image_value, scalar_value
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from google.protobuf import text_format
from PIL import Image
from support.plugin_values import COLORS, CURVE, FACES, HPARAMS, NODES, VERTICES, add, wav_file
from support.tensorboard_plugins import (
    AudioPlugin,
    CustomScalarsPlugin,
    GraphsPlugin,
    HParamsPlugin,
    ImagesPlugin,
    MeshPlugin,
    PluginClient,
    PrCurvesPlugin,
    TextPlugin,
)
from support.tensorboard_reader import LOADERS, Loader, open_reader
from tensorboard.compat.proto import graph_pb2 as tensorboard_graph_pb2
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_plugin_data_pb2

loaders = pytest.mark.parametrize("loader", LOADERS)


@loaders
def test_text(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    texts = ["**bold** größe", "", "| a | b |\n|---|---|\n| 1 | 2 |"]
    for step, text in enumerate(texts):
        add(writer, step, text_value("notes/größe", text))
    with open_reader(tmp_path, loader) as reader:
        points = reader.tensors("text")["run"]["notes/größe"]
        assert [(point.step, point.wall_time) for point in points] == [
            (step, 100.0 + step) for step in range(3)
        ]
        # A scalar, so that the page shows a text and no table of one cell.
        assert [point.array.shape for point in points] == [()] * 3
        assert [bytes(point.array.item()).decode() for point in points] == texts
        plugin = PluginClient(TextPlugin, reader, tmp_path)
        assert plugin.json("/tags") == {"run": ["notes/größe"]}
        shown = plugin.json("/text", run="run", tag="notes/größe")
    assert shown[0]["text"] == "<p><strong>bold</strong> größe</p>"
    assert "<table>" not in shown[1]["text"]
    assert "<th>a</th>" in shown[2]["text"]


@loaders
def test_audio(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    samples = np.arange(-500, 500).reshape(500, 2)
    wav = wav_file(samples, 8000)
    for step in range(12):
        add(writer, step, audio_value("beep", wav))
    with open_reader(tmp_path, loader) as reader:
        points = reader.blobs("audio")["run"]["beep"]
        assert [point.step for point in points] == list(range(12))
        plugin = PluginClient(AudioPlugin, reader, tmp_path)
        assert list(plugin.json("/tags")["run"]) == ["beep"]
        listed = plugin.json("/audio", run="run", tag="beep", sample=0)
        assert {clip["contentType"] for clip in listed} == {"audio/wav"}
        played = plugin.get("/individualAudio", **dict(parse_qsl(listed[-1]["query"])))
    assert played == points[0].blobs[0] == wav


@loaders
def test_pr_curve(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    add(writer, 3, pr_curve_value("curve", **CURVE))
    with open_reader(tmp_path, loader) as reader:
        (point,) = reader.tensors("pr_curves")["run"]["curve"]
        assert point.array.dtype == np.float32
        np.testing.assert_array_equal(point.array, np.float32(list(CURVE.values())))
        content = reader.plugin_contents("pr_curves")["run"]["curve"]
        plugin = PluginClient(PrCurvesPlugin, reader, tmp_path)
        assert list(plugin.json("/tags")["run"]) == ["curve"]
        (shown,) = plugin.json("/pr_curves", run="run", tag="curve")["run"]
    assert pr_curve_plugin_data_pb2.PrCurvePluginData.FromString(content).num_thresholds == 5
    assert shown["step"] == 3
    assert shown["thresholds"] == [0.0, 0.25, 0.5, 0.75]  # trimmed where nothing is positive
    assert shown["true_positives"] == CURVE["tp"][:4]
    assert shown["false_negatives"] == CURVE["fn"][:4]
    np.testing.assert_allclose(shown["precision"], CURVE["precision"][:4], rtol=1e-6)
    np.testing.assert_allclose(shown["recall"], CURVE["recall"][:4], rtol=1e-6)


@loaders
def test_pr_curve_of_many_thresholds_and_large_counts(
    writer: EventFile, tmp_path: Path, loader: Loader
) -> None:
    # tensorboardX stops at 127 thresholds, and float32 at 2**24.
    counts = np.arange(1000)[::-1] + 2**24 + 1.0
    add(writer, 0, pr_curve_value("c", *[counts] * 4, np.ones(1000), np.ones(1000)))
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(PrCurvesPlugin, reader, tmp_path)
        (shown,) = plugin.json("/pr_curves", run="run", tag="c")["run"]
    assert shown["true_positives"] == counts.tolist()


@loaders
@pytest.mark.parametrize(
    ("limits", "counts", "low", "high", "expected"),
    [
        pytest.param(
            [1, 2, 4], [5, 0, 7], 0.5, 3.5, [[0.5, 1, 5], [1, 2, 0], [2, 3.5, 7]], id="plain"
        ),
        pytest.param(
            [-1e308, 0, 1, 2, 1.7e308],
            [0, 0, 3, 4, 0],
            0.25,
            1.5,
            [[0.25, 1, 3], [1, 1.5, 4]],
            id="tensorflow's outer edges",
        ),
        pytest.param([1, 2], [1, 2], 5.0, -5.0, [[1, 1, 1], [1, 1, 2]], id="false extremes"),
        pytest.param([1, 2], [0, 0], 0.0, 0.0, [], id="nothing counted"),
        pytest.param([], [], 0.0, 0.0, [], id="no buckets"),
    ],
)
def test_histogram_raw(
    writer: EventFile,
    tmp_path: Path,
    loader: Loader,
    limits: list[float],
    counts: list[float],
    low: float,
    high: float,
    expected: list[list[float]],
) -> None:
    value = histogram_raw_value(
        "h",
        min=low,
        max=high,
        num=12,
        sum=30.5,
        sum_squares=99.25,
        limits=np.array(limits, np.float64),
        counts=np.array(counts, np.int64),
    )
    histo = Summary.Value.FromString(value.data).histo
    assert (histo.num, histo.sum, histo.sum_squares) == (12, 30.5, 99.25)
    add(writer, 1, value)
    with open_reader(tmp_path, loader) as reader:
        for point in reader.histograms()["run"]["h"] + reader.served_histograms("run", "h"):
            np.testing.assert_array_equal(point.buckets, np.reshape(expected, (-1, 3)))


@loaders
def test_gif_is_an_image(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    frames = [Image.new("RGB", (12, 8), color) for color in ("red", "green", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=250)
    gif = file.getvalue()
    add(writer, 4, image_value("clip", gif, 8, 12, 3))
    with open_reader(tmp_path, loader) as reader:
        (point,) = reader.images()["run"]["clip"]
        assert (point.width, point.height, point.encoded) == (12, 8, gif)
        plugin = PluginClient(ImagesPlugin, reader, tmp_path)
        (listed,) = plugin.json("/images", run="run", tag="clip", sample=0)
        blob_key = listed["query"].removeprefix("blob_key=")
        assert plugin.get("/individualImage", blob_key=blob_key) == gif
    with Image.open(io.BytesIO(gif)) as image:
        assert image.n_frames == 3


@loaders
def test_graph(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    writer.append(event.graph(5.0, 0, graph_def(NODES[:1])))
    writer.append(event.graph(6.0, 1, graph_def(NODES)))
    add(writer, 2, scalar_value("after", 1.0))
    with open_reader(tmp_path, loader) as reader:
        points = reader.blobs("graphs")["run"]["__run_graph__"]
        assert points[-1].blobs == [graph_def(NODES)]
        plugin = PluginClient(GraphsPlugin, reader, tmp_path)
        assert plugin.json("/info")["run"]["run_graph"] is True
        shown = plugin.get("/graph", run="run").decode()
        assert reader.scalars()["run"]["after"][0].value == 1.0
    graph = text_format.Parse(shown, tensorboard_graph_pb2.GraphDef())
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        (node.name, node.op, list(node.inputs)) for node in NODES
    ]
    assert graph.node[2].attr["param"].s == b"{ k : (3,) }"
    assert graph.versions.producer == 100  # as MXBoard's


@loaders
def test_hparams(tmp_path: Path, loader: Loader) -> None:
    for number, rate in enumerate((0.125, 0.25)):
        with Roots([tmp_path]).open_run(f"trial_{number}") as directory:
            writer = EventFile(directory)
            values = hparams_values(
                {**HPARAMS, "lr": rate},
                ["accuracy", "eval/loss"],
                {"optimizer": ["sgd", "adam"], "augment": [True, False], "unused": [1.0, 2.0]},
                session_secs=1000.0 + number,
            )
            add(writer, 0, values)
            add(writer, 1, scalar_value("accuracy", 0.5 + number))
            add(writer, 2, scalar_value("accuracy", 0.75 + number))
            add(writer, 2, scalar_value("eval/loss", 3.0 - number))
            writer.close()
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(HParamsPlugin, reader, tmp_path)
        experiment = plugin.post("/experiment", {"includeMetrics": True})
        request = {
            "allowedStatuses": ["STATUS_SUCCESS"],
            "startIndex": 0,
            "sliceSize": 10,
            "colParams": [{"hparam": "lr", "order": "ORDER_ASC"}],
        }
        groups = plugin.post("/session_groups", request)["sessionGroups"]
    infos = {info["name"]: info for info in experiment["hparamInfos"]}
    assert {name: info["type"] for name, info in infos.items()} == {
        "lr": "DATA_TYPE_FLOAT64",
        "layers": "DATA_TYPE_FLOAT64",
        "optimizer": "DATA_TYPE_STRING",
        "augment": "DATA_TYPE_BOOL",
        "limit": "DATA_TYPE_STRING",
        "unused": "DATA_TYPE_FLOAT64",
    }
    assert infos["optimizer"]["domainDiscrete"] == ["sgd", "adam"]
    assert infos["augment"]["domainDiscrete"] == [True, False]
    assert infos["unused"]["domainDiscrete"] == [1.0, 2.0]
    tags = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert tags == ["accuracy", "eval/loss"]
    assert [group["hparams"] for group in groups] == [
        {**HPARAMS, "lr": rate, "limit": "inf"} for rate in (0.125, 0.25)
    ]
    for number, group in enumerate(groups):
        (session,) = group["sessions"]
        assert session["name"] == f"trial_{number}"
        assert session["status"] == "STATUS_SUCCESS"
        assert session["startTimeSecs"] == session["endTimeSecs"] == 1000.0 + number
        metrics = {item["name"]["tag"]: item["value"] for item in group["metricValues"]}
        assert metrics == {"accuracy": 0.75 + number, "eval/loss": 3.0 - number}


@loaders
def test_mesh(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    config = '{"camera": {"cls": "PerspectiveCamera", "fov": 75}}'
    for step in (2, 7):
        add(writer, step, mesh_values("bunny", VERTICES + step, FACES, COLORS, config))
    with open_reader(tmp_path, loader) as reader:
        shown = reader.tensors("mesh")["run"]
        assert set(shown) == {"bunny_VERTEX", "bunny_FACE", "bunny_COLOR"}
        plugin = PluginClient(MeshPlugin, reader, tmp_path)
        assert plugin.json("/tags") == {"run": {"bunny": {"samples": 2}}}
        described = plugin.json("/meshes", run="run", tag="bunny", sample=0)
        assert {part["content_type"]: part["data_shape"] for part in described} == {
            1: [2, 5, 3],
            2: [2, 2, 3],
            3: [2, 5, 3],
        }
        assert {part["components"] for part in described} == {0b1110}
        assert {part["config"] for part in described} == {config}
        for step in (2, 7):
            expected: dict[str, np.ndarray] = {
                "VERTEX": (VERTICES + step).astype(np.float32),
                "FACE": FACES.astype(np.int32),
                "COLOR": COLORS.astype(np.uint8),
            }
            for content, array in expected.items():
                for sample in (0, 1):
                    data = plugin.get(
                        "/data",
                        run="run",
                        tag="bunny",
                        content_type=content,
                        sample=sample,
                        step=step,
                    )
                    drawn = np.frombuffer(data, array.dtype).reshape(array[sample].shape)
                    np.testing.assert_array_equal(drawn, array[sample])


@loaders
def test_point_cloud(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    add(writer, 0, mesh_values("points", VERTICES))
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(MeshPlugin, reader, tmp_path)
        (part,) = plugin.json("/meshes", run="run", tag="points", sample=0)
    assert (part["content_type"], part["components"], part["config"]) == (1, 0b10, "")


@loaders
def test_custom_scalars(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    for tag in ("loss/train", "loss/val", "mean", "low", "high"):
        add(writer, 1, scalar_value(tag, 1.0))
    layout = [
        Category(
            "Losses",
            [Chart("both", ["loss/(train|val)"]), Chart("each", ["loss/train", "loss/val"])],
        ),
        Category("Größe", [Chart("band", ["mean", "low", "high"] * 2, is_margin=True)]),
    ]
    add(writer, 0, custom_scalars_value(layout[:1]))
    add(writer, 1, custom_scalars_value(layout))
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(CustomScalarsPlugin, reader, tmp_path)
        shown = plugin.json("/layout")
        matched = plugin.json("/scalars", run="run", tag="loss/(train|val)")
    assert [category["title"] for category in shown["category"]] == ["Losses", "Größe"]
    charts = shown["category"][0]["chart"]
    assert charts == [
        {"title": "both", "multiline": {"tag": ["loss/(train|val)"]}},
        {"title": "each", "multiline": {"tag": ["loss/train", "loss/val"]}},
    ]
    series = {"value": "mean", "lower": "low", "upper": "high"}
    assert shown["category"][1]["chart"] == [
        {"title": "band", "margin": {"series": [series, series]}}
    ]
    assert set(matched["tag_to_events"]) == {"loss/train", "loss/val"}


TENSORS: dict[str, np.ndarray] = {
    **{
        dtype: np.arange(6).reshape(2, 3).astype(dtype)
        for dtype in (
            *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64"),
        )
    },
    "scalar": np.array(0.1),
    "empty": np.zeros((3, 0, 2), np.float32),
    "not finite": np.array([np.nan, np.inf, -np.inf]),
    "big-endian": np.arange(4, dtype=">i4"),
    "strided": np.arange(24).reshape(4, 6)[::2, ::-3],
}


@loaders
def test_tensors(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    for name, array in TENSORS.items():
        for step in (1, 2):
            add(writer, step, tensor_value(name, array))
    with open_reader(tmp_path, loader) as reader:
        shown = reader.tensors("tensor")["run"]
    assert set(shown) == set(TENSORS)
    for name, array in TENSORS.items():
        assert [point.step for point in shown[name]] == [1, 2]
        for point in shown[name]:
            assert point.array.dtype == array.dtype.newbyteorder("="), name
            np.testing.assert_array_equal(point.array, array, err_msg=name)
