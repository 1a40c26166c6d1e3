"""tensorboardX's own writer and boardd on the same input, as TensorBoard's loaders read them.

Where boardd differs on purpose, docs/migrating-from-mxboard.md says so, and the
difference is what is asserted.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from boardd_client import SummaryWriter
from PIL import Image
from support.daemon_process import DaemonProcess
from support.tensorboard_plugins import (
    AudioPlugin,
    MeshPlugin,
    PluginClient,
    PrCurvesPlugin,
    ProjectorPlugin,
)
from support.tensorboard_reader import LOADERS, ImagePoint, Loader, Reader, open_reader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_data_pb2

tensorboardx = pytest.importorskip("tensorboardX", reason="needs tensorboardX")
WRITERS = ("boardd", "tensorboardX")

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.normal(size=(30, 40)).astype(np.float32)
EDGES = [-3.0, -1.0, 0.0, 0.5, 4.0]
BINS: dict[str, Any] = {
    "edges": EDGES,
    "auto": "auto",
    "count": 20,
    "tensorflow": "tensorflow",
}
DEFAULT = RANDOM.exponential(size=500) - 0.1

BATCH = RANDOM.random((11, 3, 6, 7)).astype(np.float32)
GREY = RANDOM.random((3, 1, 6, 7)).astype(np.float32)
PHOTO = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
BOXES = np.array([[3, 2, 12, 9], [10, 4, 26, 17]])
VIDEO = (RANDOM.integers(0, 4, (3, 4, 1, 8, 10)) * 80).astype(np.uint8)
SAMPLES = np.sin(np.arange(2000) / 8) * np.linspace(0, 1.2, 2000)

#: Multiples of 1 / 8, so that nine thresholds split them without rounding.
PREDICTIONS = RANDOM.integers(0, 9, 200) / 8
LABELS = RANDOM.random(200) < PREDICTIONS
WEIGHTS = RANDOM.integers(1, 5, 200).astype(np.float64)
COUNTS = [np.arange(1, 5) * n for n in range(1, 7)]

VERTICES = RANDOM.normal(size=(1, 4, 3)).astype(np.float32)
COLORS = RANDOM.integers(0, 256, (1, 4, 3))
FACES = np.array([[[0, 1, 2], [1, 2, 3]]])
CAMERA = {"camera": {"cls": "PerspectiveCamera", "fov": 75}}

MATRIX = RANDOM.normal(size=(9, 4)).astype(np.float32)
LAYOUT = {
    "Taiwan": {"twse": ["Multiline", ["twse/0050", "twse/.*"]]},
    "USA": {
        "dow": ["Margin", ["dow/aaa", "dow/bbb", "dow/ccc"]],
        "nasdaq": ["Multiline", ["nasdaq"]],
    },
}
HPARAMS = {"lr": 0.1, "layers": 3, "optimizer": "sgd", "augment": True, "act": max, "no": None}

WALLTIME = 1_234_567_890.25
RGBA = RANDOM.integers(0, 256, (5, 6, 4), np.uint8)
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
#: With which tensorboardX encodes audio.
HAS_SOUNDFILE = importlib.util.find_spec("soundfile") is not None


def figure() -> Any:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(2, 1), dpi=60)
    drawn.subplots().plot([0, 1, 4, 9])
    return drawn


def log(sw: Any) -> None:
    """Calls that both writers take as they are."""
    for step, value in enumerate((1.5, 0.1, float("nan"), float("inf"), -3)):
        sw.add_scalar("scalar", value, step)
    sw.add_scalar("no step", np.float32(0.3))
    sw.add_scalar("walltime", 1.0, 1, walltime=WALLTIME)
    sw.add_histogram("walltime/histogram", VALUES, 1, walltime=WALLTIME)
    sw.add_scalars("curves", {"sin": 0.25, "cos": np.float64(0.7)}, 4)
    for name, bins in BINS.items():
        sw.add_histogram(f"histogram/{name}", VALUES, 1, bins=bins)
    sw.add_histogram("histogram/by default", DEFAULT, 2)
    sw.add_histogram_raw("histogram_raw", 0.5, 3.5, 12, 20.0, 40.0, [1, 2, 4], [5, 3, 4], 2)
    sw.add_image("image/chw", BATCH[0], 1, dataformats="CHW")
    sw.add_image("image/hwc", PHOTO, 1, dataformats="HWC")
    sw.add_image("image/hw", BATCH[0, 0], 1, dataformats="HW")
    sw.add_image("image/rgba", RGBA, 1, dataformats="HWC")
    sw.add_images("images/nchw", BATCH, 1)
    sw.add_images("images/nhwc", BATCH.transpose(0, 2, 3, 1), 1, dataformats="NHWC")
    sw.add_images("images/grey", GREY, 1)
    sw.add_image_with_boxes("boxes", PHOTO, BOXES, 1, dataformats="HWC")
    sw.add_image_with_boxes(
        "boxes/labels", PHOTO, BOXES, 1, dataformats="HWC", labels=["cat", "ox"]
    )
    if HAS_MATPLOTLIB:
        sw.add_figure("figure", figure(), 1)
    sw.add_text("text", "**bold** größe", 1)
    options = {"num_thresholds": 9, "global_step": 5}
    sw.add_pr_curve("pr_curve", LABELS, PREDICTIONS, **options)
    sw.add_pr_curve("pr_curve/weighted", LABELS, PREDICTIONS, weights=WEIGHTS, **options)
    sw.add_pr_curve_raw("pr_curve_raw", *COUNTS, 6, 4)
    sw.add_pr_curve_raw("pr_curve_raw/unnumbered", *COUNTS, 6)
    sw.add_mesh("mesh", VERTICES, COLORS, FACES, CAMERA, 2)
    sw.add_mesh("cloud", VERTICES, global_step=2)
    sw.add_hparams(HPARAMS, {"accuracy": 0.75, "loss": 2}, "trial", 9)
    sw.add_custom_scalars(LAYOUT)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each writer, named as the writer is."""
    with DaemonProcess(tmp_path_factory.mktemp("beside")) as daemon:
        with SummaryWriter(daemon.logdir / "boardd", address=daemon.address) as ours:
            log(ours)
            ours.add_video("video", VIDEO, 1, fps=5)
            ours.add_audio("audio", SAMPLES, 8000, 1)
            ours.add_embedding("words", MATRIX, list("abcdefghi"), global_step=3)
            result = ours.flush(timeout=120)  # a machine that compiles the loops first takes long
            assert result, result.reason
        with tensorboardx.SummaryWriter(str(daemon.logdir / "tensorboardX")) as theirs:
            log(theirs)
            if HAS_SOUNDFILE:
                theirs.add_audio("audio", SAMPLES, 1, 8000)
            theirs.add_embedding(MATRIX, list("abcdefghi"), global_step=3, tag="words")
        return daemon.logdir


@pytest.fixture(scope="module", params=LOADERS)
def reader(logdir: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    with open_reader(logdir, request.param) as opened:
        yield opened


def image_points(reader: Reader, tag: str) -> tuple[ImagePoint, ImagePoint]:
    images = reader.images()
    ((ours,), (theirs,)) = (images[writer][tag] for writer in WRITERS)
    assert ours.step == theirs.step == 1
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    return ours, theirs


def decoded(point: ImagePoint) -> Image.Image:
    with Image.open(io.BytesIO(point.encoded)) as image:
        image.load()
        return image


def test_runs(reader: Reader) -> None:
    named = {
        writer: {run.removeprefix(writer) for run in reader.runs() if run.startswith(writer)}
        for writer in WRITERS
    }
    assert named["boardd"] == named["tensorboardX"] == {"", "/trial", "/curves/sin", "/curves/cos"}


def test_scalars(reader: Reader) -> None:
    scalars = reader.scalars()
    for sub_run in ("", "/curves/sin", "/curves/cos", "/trial"):
        ours, theirs = (scalars[writer + sub_run] for writer in WRITERS)
        assert set(ours) == set(theirs)
        for tag in ours:
            assert [point.step for point in ours[tag]] == [point.step for point in theirs[tag]]
            np.testing.assert_array_equal(
                [point.value for point in ours[tag]], [point.value for point in theirs[tag]]
            )
    assert {"scalar", "no_step", "walltime"} == set(scalars["boardd"])


@pytest.mark.parametrize(
    "tag", [*(f"histogram/{name}" for name in BINS), "histogram/by_default", "histogram_raw"]
)
def test_histogram(reader: Reader, tag: str) -> None:
    histograms = reader.histograms()
    ((ours,), (theirs,)) = (histograms[writer][tag] for writer in WRITERS)
    assert ours.step == theirs.step
    # tensorboardX keeps an empty bucket before the first, whose edges run backwards in
    # TensorBoard's data server; boardd leaves the empty ones at the ends out.
    first = int(np.flatnonzero(theirs.buckets[:, 2])[0])
    filled = theirs.buckets[first:]
    assert ours.buckets.shape == filled.shape
    np.testing.assert_array_equal(ours.buckets[:, 2], filled[:, 2])
    np.testing.assert_allclose(ours.buckets[:, 1], filled[:, 1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.buckets[1:, 0], filled[1:, 0], rtol=1e-6, atol=1e-9)


def test_values_outside_of_the_edges_are_not_in_the_first_bucket(reader: Reader) -> None:
    """tensorboardX's first bucket reaches to the least value in one of the two loaders."""
    (ours,) = reader.histograms()["boardd"]["histogram/edges"]
    assert VALUES.min() < EDGES[0]
    assert ours.buckets[0, 0] == EDGES[0]


@pytest.mark.parametrize("tag", ["image/chw", "image/hwc", "image/rgba", "images/nchw"])
def test_image(reader: Reader, tag: str) -> None:
    ours, theirs = map(decoded, image_points(reader, tag))
    assert ours.mode == theirs.mode
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_image_formats_are_one(reader: Reader) -> None:
    for writer in WRITERS:
        first, second = (
            np.asarray(decoded(reader.images()[writer][f"images/{name}"][0]))
            for name in ("nchw", "nhwc")
        )
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("tag", ["image/hw", "images/grey"])
def test_a_grey_image_has_one_channel_and_the_same_pixels(reader: Reader, tag: str) -> None:
    ours, theirs = map(decoded, image_points(reader, tag))
    assert (ours.mode, theirs.mode) == ("L", "RGB")
    np.testing.assert_array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs))


@pytest.mark.parametrize("tag", ["boxes", "boxes/labels"])
def test_image_with_boxes(reader: Reader, tag: str) -> None:
    ours, theirs = map(decoded, image_points(reader, tag))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert (np.asarray(ours) != PHOTO).any()


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_figure(reader: Reader) -> None:
    ours, theirs = map(decoded, image_points(reader, "figure"))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_video(reader: Reader) -> None:
    """Its GIF encoder needs moviepy; its layout of clips, which is asked here, does not."""
    from tensorboardX.utils import _prepare_video

    expected = (_prepare_video(VIDEO) * 255.0).astype(np.uint8)
    (point,) = reader.images()["boardd"]["video"]
    assert (point.height, point.width) == expected.shape[1:3]
    with Image.open(io.BytesIO(point.encoded)) as gif:
        assert gif.n_frames == len(expected) == 4
        for number, frame in enumerate(expected):
            gif.seek(number)
            assert gif.info["duration"] == 200
            # Their way through float32 and back may lose one level.
            shown = np.asarray(gif.convert("L")).astype(int)
            assert np.abs(shown - frame[..., 0]).max() <= 1


@pytest.mark.skipif(not HAS_SOUNDFILE, reason="tensorboardX needs soundfile for audio")
def test_audio(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(AudioPlugin, reader, logdir)
    clips = []
    for writer in WRITERS:
        (listed,) = plugin.json("/audio", run=writer, tag="audio", sample=0)
        wav = plugin.get("/individualAudio", **dict(parse_qsl(listed["query"])))
        clips.append(np.frombuffer(wav[wav.index(b"data") + 8 :], "<i2").astype(int))
    ours, theirs = clips
    # MXBoard scales by 32767, libsndfile by 32768 with rounding.
    assert ours.shape == theirs.shape == SAMPLES.shape
    assert np.abs(ours - theirs).max() <= 2


def test_text_is_under_its_own_tag(reader: Reader) -> None:
    texts = reader.tensors("text")
    (ours,) = texts["boardd"]["text"]
    (theirs,) = texts["tensorboardX"]["text/text_summary"]
    assert ours.step == theirs.step == 1
    assert ours.array.reshape(-1).tolist() == theirs.array.reshape(-1).tolist()
    assert ours.array.item().decode() == "**bold** größe"


@pytest.mark.parametrize("tag", ["pr_curve", "pr_curve/weighted", "pr_curve_raw"])
def test_pr_curve(reader: Reader, tag: str, logdir: Path) -> None:
    curves = reader.tensors("pr_curves")
    ((ours,), (theirs,)) = (curves[writer][tag] for writer in WRITERS)
    assert ours.step == theirs.step
    np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-6)
    plugin = PluginClient(PrCurvesPlugin, reader, logdir)
    shown = plugin.json("/pr_curves", run="boardd", tag=tag)["boardd"]
    assert len(shown[0]["thresholds"]) == ours.array.shape[1]


def test_pr_curve_raw_thresholds(reader: Reader, logdir: Path) -> None:
    """Without ``num_thresholds`` tensorboardX says 127; boardd says how many there are."""
    contents = reader.plugin_contents("pr_curves")
    assert contents["boardd"]["pr_curve_raw"] == contents["tensorboardX"]["pr_curve_raw"]
    tag = "pr_curve_raw/unnumbered"
    ours, theirs = (
        pr_curve_data_pb2.PrCurvePluginData.FromString(contents[w][tag]) for w in WRITERS
    )
    assert (ours.num_thresholds, theirs.num_thresholds) == (4, 127)
    plugin = PluginClient(PrCurvesPlugin, reader, logdir)
    (shown,) = plugin.json("/pr_curves", run="boardd", tag=tag)["boardd"]
    np.testing.assert_allclose(shown["thresholds"], np.linspace(0, 1, 4))


#: As in a query of the mesh plugin, and the number in a message to it.
CONTENTS = {1: "VERTEX", 2: "FACE", 3: "COLOR"}


@pytest.mark.parametrize(("tag", "components"), [("mesh", 2 | 4 | 8), ("cloud", 2)])
def test_mesh(reader: Reader, logdir: Path, tag: str, components: int) -> None:
    plugin = PluginClient(MeshPlugin, reader, logdir)
    ours, theirs = (plugin.json("/meshes", run=w, tag=tag, sample=0) for w in WRITERS)
    assert sorted(part["content_type"] for part in ours) == sorted(
        part["content_type"] for part in theirs
    )
    for part in ours:
        (like,) = (item for item in theirs if item["content_type"] == part["content_type"])
        assert part["step"] == like["step"] == 2
        assert part["data_shape"] == like["data_shape"]
        # Bits of what there is; tensorboardX does not say, and TensorBoard takes all.
        assert (part["components"], like["components"]) == (components, 2 | 4 | 8)
        content = CONTENTS[part["content_type"]]
        query = {"tag": tag, "content_type": content, "sample": 0, "step": 2}
        first, second = (plugin.get("/data", run=writer, **query) for writer in WRITERS)
        assert first == second
        # tensorboardX writes "null" where there is none.
        assert part["config"] == ("" if like["config"] == "null" else like["config"])


def hparams(reader: Reader, writer: str) -> dict[str, Any]:
    contents = reader.plugin_contents("hparams")[f"{writer}/trial"]
    return {
        tag.removeprefix("_hparams_/"): plugin_data_pb2.HParamsPluginData.FromString(content)
        for tag, content in contents.items()
    }


def test_hparams(reader: Reader) -> None:
    ours, theirs = (hparams(reader, writer) for writer in WRITERS)
    assert set(ours) == set(theirs) == {"experiment", "session_start_info", "session_end_info"}
    started, like = (
        {name: (v.WhichOneof("kind"), str(v)) for name, v in info.items()}
        for info in (
            parts["session_start_info"].session_start_info.hparams for parts in (ours, theirs)
        )
    )
    assert started == like
    assert set(started) == {"lr", "layers", "optimizer", "augment", "act"}
    described, as_theirs = (
        {info.name: info.type for info in parts["experiment"].experiment.hparam_infos}
        for parts in (ours, theirs)
    )
    assert described == as_theirs
    metrics, as_theirs = (
        [info.name.tag for info in parts["experiment"].experiment.metric_infos]
        for parts in (ours, theirs)
    )
    assert metrics == as_theirs == ["accuracy", "loss"]
    ends = [parts["session_end_info"].session_end_info.status for parts in (ours, theirs)]
    assert ends[0] == ends[1]


def test_custom_scalars(reader: Reader) -> None:
    tensors = reader.tensors("custom_scalars")
    ours, theirs = (
        layout_pb2.Layout.FromString(tensors[writer]["custom_scalars__config__"][0].array.item())
        for writer in WRITERS
    )
    assert list(ours.category) == list(theirs.category)
    assert len(ours.category) == len(LAYOUT)


def test_embedding(reader: Reader, logdir: Path) -> None:
    plugin = PluginClient(ProjectorPlugin, reader, logdir)
    for writer in WRITERS:
        (entry,) = plugin.json("/info", run=writer)["embeddings"]
        name = entry["tensorName"]
        shown = np.frombuffer(plugin.get("/tensor", run=writer, name=name), "<f4").reshape(-1, 4)
        np.testing.assert_array_equal(shown, MATRIX)
        rows = plugin.get("/metadata", run=writer, name=name).decode().split()
        assert rows == list("abcdefghi")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("loader", LOADERS)
def test_walltime(loader: Loader, writer: str, logdir: Path) -> None:
    with open_reader(logdir, loader) as reader:
        (scalar,) = reader.scalars()[writer]["walltime"]
        (histogram,) = reader.histograms()[writer]["walltime/histogram"]
    assert scalar.wall_time == histogram.wall_time == WALLTIME


#: Parameters whose place or name differs, beside ``walltime``, which is keyword-only; see the docs.
MXBOARD_ORDER = {"add_embedding", "add_pr_curve"}
RENAMED = {
    "scalar_value": "value",
    "img_tensor": "image",
    "box_tensor": "boxes",
    "vid_tensor": "video",
    "snd_tensor": "audio",
    "text_string": "text",
    "model": "net",
}
NOT_TAKEN = {"display_name", "summary_description", "max_bins", "kwargs"}
NOT_TAKEN |= {"verbose", "use_strict_trace"}
MADE_BY_OTHERS = {"add_onnx_graph", "add_openvino_graph"}
SHARED_CALLS = [
    name
    for name in dir(tensorboardx.SummaryWriter)
    if name.startswith("add_") and name not in MADE_BY_OTHERS | {"add_embedding"}
]


@pytest.mark.parametrize("name", SHARED_CALLS)
def test_parameters(name: str) -> None:
    """Every parameter of tensorboardX's is taken; in its order, where it is positional."""
    theirs = list(inspect.signature(getattr(tensorboardx.SummaryWriter, name)).parameters)[1:]
    parameters = inspect.signature(getattr(SummaryWriter, name)).parameters
    renamed = RENAMED | ({"img_tensor": "images"} if name == "add_images" else {})
    wanted = [renamed.get(item, item) for item in theirs if item not in NOT_TAKEN]
    assert set(wanted) <= set(parameters)
    positional = [
        item.name for item in parameters.values() if item.kind is item.POSITIONAL_OR_KEYWORD
    ][1:]
    shared = [item for item in wanted if item in positional]
    if name in MXBOARD_ORDER | {"add_audio"}:
        assert shared != positional[: len(shared)]
        assert set(shared) == set(positional)
    else:
        assert shared == positional[: len(shared)]
