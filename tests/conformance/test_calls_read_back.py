"""Every ``add_*`` call, through a real daemon, as TensorBoard's own loaders and plugins read it.

What comes back is compared with NumPy, scikit-learn, Pillow and matplotlib on the
same input. All is logged once; each test looks at one call.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from boardd_client import SummaryWriter
from google.protobuf import text_format
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import precision_score, recall_score
from support.daemon_process import DaemonProcess
from support.tensorboard_plugins import (
    AudioPlugin,
    CustomScalarsPlugin,
    GraphsPlugin,
    HParamsPlugin,
    MeshPlugin,
    PluginClient,
    PrCurvesPlugin,
    ProjectorPlugin,
    TextPlugin,
)
from support.tensorboard_reader import LOADERS, Reader, open_reader
from support.transports import SETTINGS, check_transport, over
from tensorboard.compat.proto import graph_pb2

RANDOM = np.random.default_rng(11)
VALUES = RANDOM.normal(size=(50, 40)).astype(np.float32)
EDGES = [-3.0, -1.0, 0.0, 0.5, 4.0]
BINS: dict[str, Any] = {"count": 30, "edges": EDGES, "auto": "auto", "default": "default"}

BATCH = RANDOM.random((5, 3, 6, 7)).astype(np.float32)
FILTERS = RANDOM.normal(size=(4, 1, 5, 5))
PHOTO = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
BOXES = np.array([[3, 2, 12, 9], [20, 10, 26, 17]])
VIDEO = (RANDOM.integers(0, 4, (1, 3, 1, 8, 10)) * 80).astype(np.uint8)
SAMPLES = np.sin(np.arange(4000) / 8) * np.linspace(0, 1.2, 4000)

#: Multiples of 1 / 8, so that nine thresholds split them without rounding.
PREDICTIONS = RANDOM.integers(0, 9, (30, 4)) / 8
LABELS = RANDOM.random((30, 4)) < PREDICTIONS
WEIGHTS = RANDOM.integers(1, 5, (30, 4)).astype(np.float64)

WIDE = RANDOM.normal(size=(60, 300)).astype(np.float32) * np.linspace(3, 0.1, 300)
NARROW = RANDOM.normal(size=(9, 4)).astype(np.float32)
THUMBNAILS = RANDOM.integers(0, 256, (9, 1, 6, 6), np.uint8)

VERTICES = RANDOM.normal(size=(1, 4, 3)).astype(np.float32)
COLORS = RANDOM.integers(0, 256, (1, 4, 3))
FACES = np.array([[[0, 1, 2], [1, 2, 3]]])


def optional(name: str) -> Any:
    """The module, or None where it is not installed."""
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def figure() -> Any:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(2, 1), dpi=60)
    drawn.subplots().plot([0, 1, 4, 9])
    return drawn


def log(sw: SummaryWriter) -> None:
    sw.add_scalar("scalar", 1.5, 3)
    sw.add_scalars("curves", {"sin": 0.25, "cos": np.float32(0.75)}, 4)
    for name, bins in BINS.items():
        sw.add_histogram(f"histogram/{name}", VALUES, 1, bins=bins)
    sw.add_histogram_raw("histogram_raw", 0.5, 3.5, 12, 20.0, 40.0, [1, 2, 4], [5, 3, 4], 2)
    sw.add_pr_curve("pr_curve", LABELS, PREDICTIONS, 9, 5)
    sw.add_pr_curve("pr_curve_weighted", LABELS, PREDICTIONS, 9, 5, weights=WEIGHTS)
    sw.add_pr_curve_raw("pr_curve_raw", *(np.arange(1, 4) * n for n in range(1, 7)), 6)
    sw.add_tensor("tensor", VALUES[:3], 7)
    sw.add_image("image/grid", BATCH, 1, nrow=3, padding=1, pad_value=9)
    sw.add_image("image/batch", FILTERS, 1, normalize="batch", padding=0)
    sw.add_image("image/each", FILTERS, 1, normalize="image", padding=0)
    sw.add_image("image/range", FILTERS, 1, normalize="batch", value_range=(-1, 1), padding=0)
    sw.add_image("image/photo", PHOTO, 1, dataformats="HWC")
    sw.add_images("images", BATCH, 1)
    sw.add_image_with_boxes("boxes", PHOTO, BOXES, 1, labels=["", ""], dataformats="HWC")
    sw.add_video("video", VIDEO, 1, fps=5)
    sw.add_audio("audio", SAMPLES, 8000, 1)
    sw.add_text("text", "**bold** größe", 1)
    sw.add_embedding("wide", WIDE, labels=np.arange(60), global_step=7, project_to=20)
    rows = [[f"row\t{number}", number % 2] for number in range(9)]
    sw.add_embedding("narrow", NARROW, rows, THUMBNAILS, labels_header=["name", "parity"])
    sw.add_embedding("raw", WIDE, project_to=None)
    sw.add_mesh("mesh", VERTICES, COLORS, FACES, {"camera": {"cls": "PerspectiveCamera"}}, 2)
    sw.add_hparams(
        {"lr": 0.1, "layers": 3, "optimizer": "sgd", "augment": True},
        {"accuracy": 0.75},
        name="trial",
        global_step=9,
        domains={"optimizer": ["sgd", "adam"]},
    )
    sw.add_custom_scalars({"curves": {"all": ["Multiline", ["curves"]]}})
    if optional("matplotlib") is not None:
        sw.add_figure("figure", figure(), 1)
    mx = optional("mxnet")
    if mx is not None:
        sw.add_graph(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc"))


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda name: name.replace(" ", "_"))
def logdir(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """What the daemon has written of ``log``, after its end, for each transport."""
    directory = tmp_path_factory.mktemp("calls")
    with over(request.param), DaemonProcess(directory) as daemon:
        with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
            log(sw)
            result = sw.flush(timeout=60)
            assert result, result.reason
            assert not sw.statistics().dropped
            check_transport(request.param, sw, daemon)
        return daemon.logdir


@pytest.fixture(scope="module", params=LOADERS)
def reader(logdir: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    with open_reader(logdir, request.param) as opened:
        yield opened


def pixels(reader: Reader, tag: str) -> np.ndarray:
    (point,) = reader.images()["run"][tag]
    assert point.step == 1
    with Image.open(io.BytesIO(point.encoded)) as image:
        decoded = np.asarray(image)
    assert decoded.shape[:2] == (point.height, point.width)
    return decoded if decoded.ndim == 3 else decoded[..., None]


def as_bytes(image: np.ndarray) -> np.ndarray:
    """What MXBoard makes of values in [0, 1]."""
    return (image * np.asarray(255, image.dtype)).astype(np.uint8)


def tiled(batch: np.ndarray, nrow: int, padding: int, pad_value: int = 0) -> np.ndarray:
    """torchvision's make_grid of bytes [N, C, H, W], as [H, W, C]."""
    count, channels, height, width = batch.shape
    columns = min(nrow, count)
    rows = -(-count // columns)
    size = rows * (height + padding) + padding, columns * (width + padding) + padding
    grid = np.full((*size, channels), pad_value, np.uint8)
    for number, image in enumerate(batch):
        top = padding + number // columns * (height + padding)
        left = padding + number % columns * (width + padding)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return grid


def stretched(values: np.ndarray, low: Any, high: Any) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0, 1)


def test_scalar(reader: Reader) -> None:
    (point,) = reader.scalars()["run"]["scalar"]
    assert (point.step, point.value) == (3, 1.5)


def test_scalars(reader: Reader) -> None:
    for name, value in (("sin", 0.25), ("cos", 0.75)):
        (point,) = reader.scalars()[f"run/curves/{name}"]["curves"]
        assert (point.step, point.value) == (4, value)


@pytest.mark.parametrize("name", [name for name in BINS if name != "default"])
def test_histogram(reader: Reader, name: str) -> None:
    (point,) = reader.histograms()["run"][f"histogram/{name}"]
    counts, edges = np.histogram(VALUES.astype(np.float64), BINS[name])
    filled = np.flatnonzero(counts)
    shown = point.buckets[point.buckets[:, 2].nonzero()[0]]
    # The Python loader keeps buckets as float32.
    np.testing.assert_array_equal(shown[:, 2], counts[filled])
    np.testing.assert_allclose(shown[1:-1, 0], edges[:-1][filled][1:-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(shown[1:-1, 1], edges[1:][filled][1:-1], rtol=1e-6, atol=1e-6)


def test_histogram_of_default_bins(reader: Reader) -> None:
    (point,) = reader.histograms()["run"]["histogram/default"]
    positive = [1e-12]
    while positive[-1] < 1e20:
        positive.append(positive[-1] * 1.1)
    edges = np.array([*(-np.array(positive[:-1])[::-1]), 0, *positive[:-1]])
    counts, _ = np.histogram(VALUES.astype(np.float64), edges)
    shown = point.buckets[:, 2]
    np.testing.assert_array_equal(shown[shown > 0], counts[counts > 0])


def test_histogram_raw(reader: Reader) -> None:
    (point,) = reader.histograms()["run"]["histogram_raw"]
    assert point.step == 2
    np.testing.assert_array_equal(point.buckets, [[0.5, 1, 5], [1, 2, 3], [2, 3.5, 4]])


@pytest.mark.parametrize("tag", ["pr_curve", "pr_curve_weighted"])
def test_pr_curve(reader: Reader, tag: str) -> None:
    (point,) = reader.tensors("pr_curves")["run"][tag]
    assert point.step == 5
    weights = WEIGHTS if tag.endswith("weighted") else np.ones_like(WEIGHTS)
    truth, weight = LABELS.reshape(-1), weights.reshape(-1)
    for number, column in enumerate(point.array.T):
        taken = PREDICTIONS.reshape(-1) >= number / 8
        expected = [
            weight[taken & truth].sum(),
            weight[taken & ~truth].sum(),
            weight[~taken & ~truth].sum(),
            weight[~taken & truth].sum(),
            precision_score(truth, taken, sample_weight=weight, zero_division=0),
            recall_score(truth, taken, sample_weight=weight, zero_division=0),
        ]
        np.testing.assert_allclose(column, expected, rtol=1e-6)
    assert point.array.shape == (6, 9)


def test_pr_curve_raw(reader: Reader, logdir: Path) -> None:
    (point,) = reader.tensors("pr_curves")["run"]["pr_curve_raw"]
    np.testing.assert_array_equal(point.array, np.outer(range(1, 7), range(1, 4)))
    plugin = PluginClient(PrCurvesPlugin, reader, logdir)
    (shown,) = plugin.json("/pr_curves", run="run", tag="pr_curve_raw")["run"]
    assert shown["thresholds"] == [0.0, 0.5, 1.0]


def test_tensor(reader: Reader) -> None:
    (point,) = reader.tensors("tensor")["run"]["tensor"]
    assert point.step == 7
    np.testing.assert_array_equal(point.array, VALUES[:3])


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("image/grid", tiled(as_bytes(BATCH), 3, 1, 9)),
        ("images", tiled(as_bytes(BATCH), 8, 0)),
        ("image/photo", PHOTO),
    ],
)
def test_images(reader: Reader, tag: str, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(pixels(reader, tag), expected)


@pytest.mark.parametrize(
    ("tag", "low", "high"),
    [
        ("image/batch", FILTERS.min(), FILTERS.max()),
        (
            "image/each",
            FILTERS.min((1, 2, 3), keepdims=True),
            FILTERS.max((1, 2, 3), keepdims=True),
        ),
        ("image/range", -1.0, 1.0),
    ],
)
def test_normalised_images(reader: Reader, tag: str, low: Any, high: Any) -> None:
    expected = tiled((stretched(FILTERS, low, high) * 255).round(6).astype(np.uint8), 8, 0)
    shown = pixels(reader, tag)
    assert shown.shape == expected.shape
    # Where a product lies at an integer, its rounding decides.
    difference = np.abs(shown.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


def test_image_with_boxes(reader: Reader) -> None:
    shown = pixels(reader, "boxes")
    red = (shown == (255, 0, 0)).all(axis=2)
    inside = np.zeros((20, 30), bool)
    for left, top, right, bottom in BOXES:
        for row in (top, bottom):
            assert red[row, left : right + 1].all()
        for column in (left, right):
            assert red[top : bottom + 1, column].all()
        inside[top - 1 : bottom + 2, left - 1 : right + 2] = True
        inside[top + 2 : bottom - 1, left + 2 : right - 1] = False
    np.testing.assert_array_equal(shown[~inside], PHOTO[~inside])


def test_figure(reader: Reader) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    file = io.BytesIO()
    figure().savefig(file, format="png", dpi="figure")
    with Image.open(file) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels(reader, "figure"), expected)


def test_video(reader: Reader) -> None:
    (point,) = reader.images()["run"]["video"]
    with Image.open(io.BytesIO(point.encoded)) as gif:
        assert gif.n_frames == 3
        for number in range(3):
            gif.seek(number)
            assert gif.info["duration"] == 200
            np.testing.assert_array_equal(np.asarray(gif.convert("L")), VIDEO[0, number, 0])


def test_audio(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(AudioPlugin, reader, logdir)
    (listed,) = plugin.json("/audio", run="run", tag="audio", sample=0)
    assert listed["contentType"] == "audio/wav"
    played = plugin.get("/individualAudio", **dict(parse_qsl(listed["query"])))
    with wave.open(io.BytesIO(played)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (8000, 1, 2)
        frames = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
    np.testing.assert_array_equal(frames, (np.clip(SAMPLES, -1, 1) * 32767).astype(np.int16))


def test_text(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(TextPlugin, reader, logdir)
    (shown,) = plugin.json("/text", run="run", tag="text")
    assert (shown["step"], shown["text"]) == (1, "<p><strong>bold</strong> größe</p>")


def points(plugin: PluginClient, name: str, columns: int) -> np.ndarray:
    data = plugin.get("/tensor", run="run", name=name)
    return np.frombuffer(data, "<f4").reshape(-1, columns)


def test_embedding_is_projected_as_scikit_learn_does(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(ProjectorPlugin, reader, logdir)
    shown = points(plugin, "wide_000007", 20)
    pca = PCA(20, svd_solver="full")
    expected = pca.fit_transform(WIDE.astype(np.float64))
    signs = np.sign((shown * expected).sum(axis=0))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(shown * signs, expected, rtol=0, atol=1e-5 * scale)
    labels = plugin.get("/metadata", run="run", name="wide_000007").decode()
    assert labels.splitlines() == [str(number) for number in range(60)]
    # How much of the variance is kept is told beside it.
    (note,) = reader.tensors("text")["run"]["wide/projection"]
    assert f"{pca.explained_variance_ratio_.sum():.2%}" in note.array.item().decode()


def test_embedding_with_columns_and_images(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(ProjectorPlugin, reader, logdir)
    np.testing.assert_array_equal(points(plugin, "narrow", 4), NARROW)
    labels = plugin.get("/metadata", run="run", name="narrow").decode().splitlines()
    assert labels == ["name\tparity", *(f"row {number}\t{number % 2}" for number in range(9))]
    entries = plugin.json("/info", run="run")["embeddings"]
    (entry,) = (entry for entry in entries if entry["tensorName"] == "narrow")
    assert entry["sprite"]["singleImageDim"] == [6, 6]
    with Image.open(io.BytesIO(plugin.get("/sprite_image", run="run", name="narrow"))) as sheet:
        shown = np.asarray(sheet.convert("L"))
    np.testing.assert_array_equal(shown, tiled(THUMBNAILS, 3, 0)[..., 0])


def test_embedding_that_is_not_projected(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(ProjectorPlugin, reader, logdir)
    np.testing.assert_array_equal(points(plugin, "raw", 300), WIDE.astype(np.float32))
    assert "raw/projection" not in reader.tensors("text")["run"]


def test_mesh(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(MeshPlugin, reader, logdir)
    for content, array in (
        ("VERTEX", VERTICES),
        ("COLOR", COLORS.astype(np.uint8)),
        ("FACE", FACES.astype(np.int32)),
    ):
        query = {"run": "run", "tag": "mesh", "content_type": content, "sample": 0, "step": 2}
        shown = np.frombuffer(plugin.get("/data", **query), array.dtype)
        np.testing.assert_array_equal(shown.reshape(array[0].shape), array[0])
    described = plugin.json("/meshes", run="run", tag="mesh", sample=0)
    assert {part["config"] for part in described} == {'{"camera": {"cls": "PerspectiveCamera"}}'}


def test_hparams(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(HParamsPlugin, reader, logdir)
    experiment = plugin.post("/experiment", {"includeMetrics": True})
    domains = {info["name"]: info.get("domainDiscrete") for info in experiment["hparamInfos"]}
    assert domains["optimizer"] == ["sgd", "adam"]
    request = {"allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 10}
    (group,) = plugin.post("/session_groups", request)["sessionGroups"]
    assert group["hparams"] == {"lr": 0.1, "layers": 3.0, "optimizer": "sgd", "augment": True}
    assert [session["name"] for session in group["sessions"]] == ["run/trial"]
    (metric,) = group["metricValues"]
    assert (metric["name"]["tag"], metric["value"]) == ("accuracy", 0.75)
    (point,) = reader.scalars()["run/trial"]["accuracy"]
    assert (point.step, point.value) == (9, 0.75)


def test_custom_scalars(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(CustomScalarsPlugin, reader, logdir)
    (category,) = plugin.json("/layout")["category"]
    assert category["title"] == "curves"
    assert category["chart"] == [{"title": "all", "multiline": {"tag": ["curves"]}}]
    matched = plugin.json("/scalars", run="run/curves/sin", tag="curves")
    assert [[row[1:] for row in rows] for rows in matched["tag_to_events"].values()] == [
        [[4, 0.25]]
    ]


def test_graph(reader: Reader, logdir: Path) -> None:
    pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)
    plugin = PluginClient(GraphsPlugin, reader, logdir)
    shown = plugin.get("/graph", run="run").decode()
    graph = text_format.Parse(shown, graph_pb2.GraphDef())
    # The scopes that MXBoard gives.
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("data", "null", []),
        ("fc/fc_weight", "null", []),
        ("fc/fc_bias", "null", []),
        ("fc/fc", "FullyConnected", ["data", "fc/fc_weight", "fc/fc_bias"]),
    ]
