"""What the calls send: payloads and tensors, as a daemon gets them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.errors import CaptureError
from boardd_client.registry import registry
from boardd_client.run import AttachedRun
from boardd_client.settings import Settings
from boardd_protos import address as addresses
from boardd_protos import boardd_pb2 as pb
from boardd_protos.record import Kind
from google.protobuf import text_format
from support.scripted_daemon import ScriptedDaemon, wait_for


@pytest.fixture(autouse=True)
def no_autostart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    monkeypatch.setenv("BOARDD_ARENA_BYTES", str(8 << 20))


class Sent(NamedTuple):
    """One record with a payload."""

    tag: str
    sub_run: str
    step: int
    payload: pb.Payload
    tensors: list[np.ndarray]


@pytest.fixture
def scripted() -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon() as daemon:
        yield daemon


def send(daemon: ScriptedDaemon, log: Callable[[SummaryWriter], Any]) -> list[Sent]:
    """What arrives of what ``log`` logs, scalars left out."""
    with SummaryWriter("/logs", address=daemon.address) as sw:
        log(sw)
        assert sw.flush()
    series = {s.series: s for message in daemon.definitions for s in message.series}
    sent = []
    for frame in daemon.all_frames:
        if frame.kind != Kind.SUMMARY:
            continue
        payload = pb.Payload.FromString(frame.payload)
        tensors = [
            np.frombuffer(
                daemon.all_tensors.get((frame.sequence, number), b""), tensor.dtype
            ).reshape(tuple(tensor.shape))
            for number, tensor in enumerate(payload.tensors)
        ]
        del payload.tensors[:]
        found = series[frame.series]
        sent.append(Sent(found.tag, found.sub_run, frame.step, payload, tensors))
    return sent


rng = np.random.default_rng(0)
IMAGE = rng.random((3, 4, 5))
BATCH = rng.random((2, 3, 4, 5)).astype(np.float32)
VECTOR = rng.random(6)
MATRIX = rng.random((3, 2)).astype(np.float32)


def text_tensor(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def reports() -> list[Any]:
    """A call, the tag, the step, the payload without tensors, the tensors."""

    def row(name: str, payload: str, tensors: list[Any], *arguments: Any, **options: Any) -> Any:
        return pytest.param(name, payload, tensors, arguments, options, id=f"{name}-{len(rows)}")

    rows: list[Any] = []
    rows.append(row("add_histogram", 'histogram {rule: "default"}', [VECTOR], VECTOR))
    rows.append(row("add_histogram", "histogram {count: 7}", [VECTOR], VECTOR, bins=7))
    rows.append(
        row(
            "add_histogram_raw",
            "histogram_raw {min: -1 max: 2 num: 3 sum: 4 sum_squares: 5.5}",
            [np.array([0.5, 2]), np.array([1, 2])],
            *(-1, 2, np.float32(3), 4, 5.5, [0.5, 2], (1, 2)),
        )
    )
    rows.append(
        row("add_pr_curve", "pr_curve {num_thresholds: 9}", [VECTOR, VECTOR], VECTOR, VECTOR, 9)
    )
    rows.append(
        row(
            "add_pr_curve",
            "pr_curve {num_thresholds: 127}",
            [MATRIX, MATRIX, MATRIX[0]],
            MATRIX,
            MATRIX,
            weights=MATRIX[0],
        )
    )
    rows.append(
        row(
            "add_pr_curve_raw",
            "pr_curve_raw {num_thresholds: 6}",
            [VECTOR + number for number in range(6)],
            *(VECTOR + number for number in range(6)),
            num_thresholds=6,
        )
    )
    rows.append(row("add_tensor", "tensor {}", [BATCH], BATCH))
    rows.append(row("add_tensor", "tensor {}", [np.array(7)], 7))
    grid = "nrow: 8 padding: 2"
    rows.append(row("add_image", f'image {{dataformats: "CHW" {grid}}}', [IMAGE], IMAGE))
    rows.append(row("add_image", f'image {{dataformats: "NCHW" {grid}}}', [BATCH], BATCH))
    rows.append(
        row(
            "add_image",
            'image {dataformats: "NCHW" nrow: 3 padding: 1 normalize: "image" pad_value: 9'
            " value_range: -1 value_range: 2}",
            [BATCH.astype(np.int16)],
            BATCH.astype(np.int16),
            dataformats="nchw",
            nrow=3,
            padding=1,
            normalize="image",
            value_range=(-1, 2),
            pad_value=9,
        )
    )
    rows.append(
        row("add_images", 'image {dataformats: "NCHW" nrow: 8}', [BATCH], BATCH),
    )
    rows.append(
        row(
            "add_image_with_boxes",
            'image {dataformats: "CHW" nrow: 1 has_boxes: true box_labels: "a" box_labels: "b"}',
            [IMAGE, np.arange(8).reshape(2, 4)],
            IMAGE,
            np.arange(8).reshape(2, 4),
            labels=["a", "b"],
        )
    )
    rows.append(
        row(
            "add_video",
            'video {dataformats: "TNHWC" frames_per_second: 2.5}',
            [BATCH[None].transpose(1, 0, 3, 4, 2)],
            BATCH[None].transpose(1, 0, 3, 4, 2),
            fps=2.5,
            dataformats="TNHWC",
        )
    )
    rows.append(row("add_audio", "audio {sample_rate: 44100}", [VECTOR], VECTOR))
    rows.append(row("add_audio", "audio {sample_rate: 8000}", [VECTOR[None]], VECTOR[None], 8000))
    rows.append(row("add_text", 'text {markdown: "# größe"}', [], "# größe"))
    rows.append(
        row("add_embedding", "embedding {project_to: 200 has_step: true}", [MATRIX], MATRIX)
    )
    rows.append(
        row(
            "add_embedding",
            "embedding {metadata_tensor: 1 images_tensor: 2 has_step: true}",
            [MATRIX, text_tensor("a b\nc\n1.5\n"), BATCH[[0, 1, 0]]],
            MATRIX,
            ["a\tb", "c", 1.5],
            BATCH[[0, 1, 0]],
            project_to=None,
        )
    )
    rows.append(
        row(
            "add_embedding",
            "embedding {labels_tensor: 1 images_tensor: 2 project_to: 5 has_step: true}",
            [MATRIX, np.arange(3), BATCH[[0, 1, 0]]],
            MATRIX,
            np.arange(3),
            BATCH[[0, 1, 0]],
            project_to=5,
        )
    )
    rows.append(
        row(
            "add_embedding",
            'embedding {metadata_tensor: 1 metadata_header: "digit" metadata_header: "writer"'
            " project_to: 200 has_step: true}",
            [MATRIX, text_tensor("1\tx y\n2\t\n3\tz\n")],
            MATRIX,
            [(1, "x\ny"), [2, ""], np.array(["3", "z"])],
            labels_header=("digit", "writer"),
        )
    )
    rows.append(
        row(
            "add_embedding",
            'embedding {labels_tensor: 1 metadata_header: "label 1" metadata_header: "label 2"'
            " project_to: 200 has_step: true}",
            [MATRIX, np.arange(6).reshape(3, 2)],
            MATRIX,
            np.arange(6).reshape(3, 2),
        )
    )
    rows.append(
        row(
            "add_embedding",
            "embedding {metadata_tensor: 1 project_to: 200 has_step: true}",
            [MATRIX, text_tensor("2026-01-01\n2026-01-02\nNaT\n")],
            MATRIX,
            np.array(["2026-01-01", "2026-01-02", "NaT"], "datetime64[D]"),
        )
    )
    points = rng.random((1, 4, 3))
    triangles = np.array([[[0, 1, 2]]])
    rows.append(row("add_mesh", "mesh {}", [points], points))
    rows.append(
        row(
            "add_mesh",
            'mesh {colors_tensor: 1 faces_tensor: 2 config_json: \'{"cls": "x"}\'}',
            [points, points * 255, triangles],
            points,
            points * 255,
            triangles,
            {"cls": "x"},
        )
    )
    return rows


@pytest.mark.parametrize(("name", "payload", "tensors", "arguments", "options"), reports())
def test_payload_and_tensors_of_every_call(
    scripted: ScriptedDaemon,
    name: str,
    payload: str,
    tensors: list[np.ndarray],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    (sent,) = send(
        scripted, lambda sw: getattr(sw, name)("a/tag", *arguments, global_step=12, **options)
    )
    assert (sent.tag, sent.sub_run, sent.step) == ("a/tag", "", 12)
    assert sent.payload == text_format.Parse(payload, pb.Payload())
    assert len(sent.tensors) == len(tensors)
    for found, expected in zip(sent.tensors, tensors, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_an_embedding_without_a_step_says_so(scripted: ScriptedDaemon) -> None:
    (sent,) = send(scripted, lambda sw: sw.add_embedding("e", MATRIX))
    assert not sent.payload.embedding.has_step


def test_what_is_logged_is_what_it_was_at_the_call(scripted: ScriptedDaemon) -> None:
    matrix, images, labels = MATRIX.copy(), BATCH[[0, 1, 0]].copy(), ["a", "b", "c"]

    def log(sw: SummaryWriter) -> None:
        sw.add_embedding("e", matrix, labels, images)
        matrix[:] = images[:] = 0
        labels[:] = ["x"] * 3

    (sent,) = send(scripted, log)
    for found, expected in zip(
        sent.tensors, [MATRIX, text_tensor("a\nb\nc\n"), BATCH[[0, 1, 0]]], strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_hyperparameters_and_metrics_go_to_a_sub_run(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_hparams(
            {"lr": np.float32(0.5), "n": 3, "b": True, "o": "sgd", "f": np.mean, "none": None},
            {"hparam/loss": 0.25, "accuracy": np.ones(1)},
            name="trial/1",
            global_step=4,
            domains={"o": ["sgd", "adam"]},
        )

    (sent,) = send(scripted, log)
    expected = pb.HParams(
        hparams={
            "lr": pb.HParamValue(number=0.5),
            "n": pb.HParamValue(number=3),
            "b": pb.HParamValue(flag=True),
            "o": pb.HParamValue(text="sgd"),
            "f": pb.HParamValue(text="mean"),
        },
        metrics=["hparam/loss", "accuracy"],
        domains=[
            pb.HParamDomain(
                hparam="o", values=[pb.HParamValue(text="sgd"), pb.HParamValue(text="adam")]
            )
        ],
    )
    assert sent.payload.hparams == expected
    assert sent.sub_run == "trial/1"
    series = {s.series: s for message in scripted.definitions for s in message.series}
    scalars = [frame for frame in scripted.all_frames if frame.kind == Kind.SCALAR]
    assert [
        (series[frame.series].sub_run, series[frame.series].tag, frame.step, frame.value)
        for frame in scalars
    ] == [("trial/1", "hparam/loss", 4, 0.25), ("trial/1", "accuracy", 4, 1.0)]


def test_hyperparameters_without_a_name_go_to_the_time(scripted: ScriptedDaemon) -> None:
    before = time.time()
    (sent,) = send(scripted, lambda sw: sw.add_hparams({"lr": 1}, {}))
    assert before <= float(sent.sub_run) <= time.time()


def test_what_refers_to_tags_names_them_as_they_are_written(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_hparams({}, {"/top 1": 2.0}, name="trial")
        sw.add_custom_scalars_marginchart(["mean (all)", "low", "/high"])
        sw.add_custom_scalars_multilinechart(["loss (a|b)"])

    hparams, margin, multiline = send(scripted, log)
    assert list(hparams.payload.hparams.metrics) == ["top_1"]
    charts = [
        record.payload.custom_scalars.categories[0].charts[0] for record in (margin, multiline)
    ]
    assert [list(chart.tags) for chart in charts] == [
        ["mean__all_", "low", "high"],
        ["loss (a|b)"],
    ]


def test_a_metric_is_the_same_series_as_a_named_curve(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_scalar("loss", {"a": 1.0}, 1)
        sw.add_hparams({}, {"loss": 2.0}, name="loss/a")

    send(scripted, log)
    series = [s for message in scripted.definitions for s in message.series]
    assert [(s.tag, s.sub_run) for s in series if s.tag == "loss"] == [("loss", "loss/a")]
    assert scripted.values() == [1.0, 2.0]


def test_metrics_and_curves_are_exported(scripted: ScriptedDaemon, tmp_path: Any) -> None:
    with SummaryWriter("/logs", address=scripted.address) as sw:
        sw.add_hparams({}, {"loss": 2.0}, name="trial", global_step=3)
        sw.add_scalars("plot", {"sin": 1.0, "cos": 2.0}, 4)
        sw.export_scalars(tmp_path / "scalars.json")
    exported = json.loads((tmp_path / "scalars.json").read_text())
    rows = {name: [row[1:] for row in found] for name, found in exported.items()}
    assert rows == {
        "/logs/trial/loss": [[3, 2.0]],
        "/logs/plot/sin": [[4, 1.0]],
        "/logs/plot/cos": [[4, 2.0]],
    }


def test_layouts_of_charts(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_custom_scalars(
            {"one": {"a": ["Multiline", ["x", "y"]], "b": ("Margin", ("v", "l", "u"))}, "two": {}}
        )
        sw.add_custom_scalars_multilinechart(["x"], "c", "t")
        sw.add_custom_scalars_marginchart(["v", "l", "u"])

    sent = send(scripted, log)
    category, chart = pb.ChartCategory, pb.Chart
    assert [list(record.payload.custom_scalars.categories) for record in sent] == [
        [
            category(
                title="one",
                charts=[
                    chart(title="a", tags=["x", "y"]),
                    chart(title="b", is_margin=True, tags=["v", "l", "u"]),
                ],
            ),
            category(title="two"),
        ],
        [category(title="c", charts=[chart(title="t", tags=["x"])])],
        [
            category(
                title="default",
                charts=[chart(title="untitled", is_margin=True, tags=["v", "l", "u"])],
            )
        ],
    ]


def test_graphs_of_symbol_and_block(scripted: ScriptedDaemon) -> None:
    mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(3, activation="relu"), mx.gluon.nn.Dense(2))
    net.initialize()
    net.hybridize()
    net(mx.nd.ones((1, 4)))
    symbol = net(mx.sym.Variable("data"))

    def log(sw: SummaryWriter) -> None:
        sw.add_graph(symbol)
        sw.add_graph(net)

    of_symbol, of_block = (json.loads(s.payload.graph.mxnet_json) for s in send(scripted, log))
    assert of_symbol == json.loads(symbol.tojson())
    names = [node["name"] for node in of_symbol["nodes"]]
    assert [node["name"] for node in of_block["nodes"]] == names
    assert "net_dense1_fwd" in names


def test_figures_are_drawn_and_closed(scripted: ScriptedDaemon) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figures = []
    for colour in ("red", "blue", "#00ff00"):
        figure = pyplot.figure(figsize=(0.2, 0.1), dpi=100)
        figure.patch.set_facecolor(colour)
        figures.append(figure)
    canvas = figures[0].canvas

    def log(sw: SummaryWriter) -> None:
        sw.add_figure("one", figures[0], 1, close=False)
        assert pyplot.fignum_exists(figures[0].number)
        assert figures[0].canvas is canvas
        sw.add_figure("several", figures, 2)

    one, several = send(scripted, log)
    assert not pyplot.get_fignums()
    assert one.payload.image.dataformats == "HWC"
    assert several.payload.image.dataformats == "NHWC"
    np.testing.assert_array_equal(one.tensors[0], np.full((10, 20, 3), (255, 0, 0)))
    assert several.tensors[0].shape == (3, 10, 20, 3)
    assert several.tensors[0][:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255], [0, 255, 0]]
    for number, figure in enumerate(figures):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        np.testing.assert_array_equal(
            several.tensors[0][number], np.asarray(canvas.buffer_rgba())[:, :, :3]
        )


def test_a_record_of_several_tensors_is_dropped_as_one(scripted: ScriptedDaemon) -> None:
    matrix = np.ones((1 << 10, 1 << 8), np.float32)  # 1 MiB
    images = np.zeros((1 << 10, 1, 64, 64), np.uint8)  # 4 MiB
    scripted.acknowledges = False
    with SummaryWriter("/logs", address=scripted.address) as sw:
        sw.add_embedding("first", matrix, images=images)
        used = sw.statistics().arena_used_bytes
        # Its matrix still has room, its images have not.
        sw.add_embedding("second", matrix, labels=np.arange(1 << 10), images=images)
        statistics = sw.statistics()
        assert dict(statistics.dropped) == {"arena_full": 1}
        assert (statistics.accepted, statistics.arena_used_bytes) == (1, used)
        sw.add_embedding("third", matrix)
        assert sw.statistics().accepted == 2
        # Together they never fit, so that waiting for room would be in vain.
        sw.add_embedding("fourth", matrix, images=np.zeros((1 << 10, 1, 88, 88), np.uint8))
        assert sw.statistics().dropped["tensor_too_large"] == 1
        wait_for(lambda: scripted.reports and sum(scripted.reports[-1].values()) == 2, "a report")
        scripted.send(acknowledged=pb.Acknowledged(written_sequence=2))
        scripted.acknowledges = True
        assert sw.flush()
        assert sw.statistics().arena_used_bytes == 0
    summaries = [frame for frame in scripted.all_frames if frame.kind == Kind.SUMMARY]
    assert [frame.sequence for frame in summaries] == [1, 2]


class Slow:
    """A tensor whose copy goes on after the call, until it is told to end."""

    dtype, shape, size_bytes = "uint8", (4,), 4

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def copy_into(self, slot: memoryview) -> Slow:
        self.slot = slot
        return self

    def wait(self) -> None:
        assert self.may_end.wait(20)
        self.slot[:] = b"late"


class Broken:
    """A tensor whose copy cannot be started."""

    dtype, shape, size_bytes = "uint8", (2,), 2

    def copy_into(self, slot: memoryview) -> None:
        raise CaptureError("no memory there")


def test_a_copy_that_fails_loses_its_record_once_the_others_have_ended(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    sender = registry.acquire(addresses.parse(scripted.address), Settings.from_environ(os.environ))
    definition = pb.RunDefinition(logdir="/logs", rank=-1)
    run = AttachedRun(sender, definition, "/logs", 0.0, lambda key, text: None)
    sender.start()
    series, slow = run.series_of("t"), Slow()
    run.log_record(series, 1, 1.0, [slow, Broken()], b"payload")
    run.log_scalar(series, 2, 1.0, 3.0)
    # The slow copy still writes to its slot, so that must not be given away.
    assert sender.session.statistics().arena_used_bytes > 0
    assert not scripted.values()
    slow.may_end.set()
    result = run.flush(time.monotonic() + 20, "written")
    assert "CAPTURE_FAILED: CaptureError: no memory there" in result.reason
    assert "a value could not be captured and is lost" in caplog.text
    statistics = sender.session.statistics()
    assert (dict(statistics.rejected), statistics.arena_used_bytes) == ({"CAPTURE_FAILED": 1}, 0)
    assert [frame.kind for frame in scripted.all_frames] == [Kind.VOID, Kind.SCALAR]
    assert run.end(time.monotonic() + 20)
    registry.release(sender)
    assert sender.finished.wait(20)


def test_a_record_larger_than_the_log_is_dropped_at_once(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", str(64 << 10))
    with SummaryWriter("/logs", address=scripted.address, on_full="block") as sw:
        begin = time.monotonic()
        sw.add_text("t", "x" * (64 << 10))
        assert time.monotonic() - begin < 10
        assert dict(sw.statistics().dropped) == {"record_too_large": 1}
        sw.add_text("t", "y" * 1000)
        assert sw.flush()
        assert sw.statistics().written == 1


def test_the_largest_record_is_sent_as_it_is(scripted: ScriptedDaemon) -> None:
    text = "x" * ((1 << 20) - 8)
    (sent,) = send(scripted, lambda sw: sw.add_text("t", text))
    assert sent.payload.text.markdown == text
