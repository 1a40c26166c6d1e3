"""What the calls send: payloads and tensors, as a daemon gets them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from google.protobuf import text_format
from support.scripted_daemon import ScriptedDaemon
from support.sent_records import send

pytestmark = pytest.mark.usefixtures("no_autostart")


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
