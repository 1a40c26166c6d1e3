"""Every ``add_*`` call is made in these tests; the ones that other files leave out are here."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from google.protobuf import text_format
from support.daemon_process import DaemonProcess
from support.tensorboard_plugins import CustomScalarsPlugin, GraphsPlugin, PluginClient
from support.tensorboard_reader import LOADERS, Loader, open_reader
from tensorboard.compat.proto import event_pb2, graph_pb2, node_def_pb2, summary_pb2

CONFORMANCE = Path(__file__).parent
BAND = ["band/value", "band/lower", "band/upper"]


def test_every_call_is_made() -> None:
    called = {
        node.func.attr
        for file in CONFORMANCE.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "sw"
    }
    public = {name for name in dir(SummaryWriter) if name.startswith("add_")}
    assert public <= called, sorted(public - called)


def layouts(logdir: Path, loader: str) -> list[dict[str, object]]:
    with open_reader(logdir, loader) as reader:
        return PluginClient(CustomScalarsPlugin, reader, logdir).json("/layout")["category"]


def margin(*tags: str) -> dict[str, str]:
    return dict(zip(("value", "lower", "upper"), tags, strict=True))


@pytest.mark.usefixtures("transport")
def test_multiline_chart(daemon: DaemonProcess) -> None:
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_custom_scalars_multilinechart(["loss/.*", "accuracy"], "training", "both")
        assert sw.flush(timeout=60)
    for loader in LOADERS:
        (category,) = layouts(daemon.logdir, loader)
        assert category["title"] == "training"
        assert category["chart"] == [
            {"title": "both", "multiline": {"tag": ["loss/.*", "accuracy"]}}
        ]


@pytest.mark.usefixtures("transport")
def test_margin_chart(daemon: DaemonProcess) -> None:
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        for step, value in enumerate((0.5, 0.25)):
            for tag, shift in zip(BAND, (0, -0.125, 0.125), strict=True):
                sw.add_scalar(tag, value + shift, step)
        sw.add_custom_scalars_marginchart(BAND)
        assert sw.flush(timeout=60)
    for loader in LOADERS:
        (category,) = layouts(daemon.logdir, loader)
        assert category["title"] == "default"
        (chart,) = category["chart"]
        assert chart == {"title": "untitled", "margin": {"series": [margin(*BAND)]}}
        with open_reader(daemon.logdir, loader) as reader:
            plugin = PluginClient(CustomScalarsPlugin, reader, daemon.logdir)
            for tag, values in zip(
                BAND, ([0.5, 0.25], [0.375, 0.125], [0.625, 0.375]), strict=True
            ):
                shown = plugin.json("/scalars", run="run", tag=tag)
                assert [row[1:] for row in shown["tag_to_events"][tag]] == [
                    [0, values[0]],
                    [1, values[1]],
                ]


@pytest.mark.usefixtures("transport")
def test_a_layout_with_margins(daemon: DaemonProcess) -> None:
    other = ["x y", "lower", "upper"]
    layout = {"bands": {"two": ["Margin", [*BAND, *other]]}, "lines": {"one": ["Multiline", ["."]]}}
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_custom_scalars({"replaced": {"one": ["Multiline", ["x"]]}})
        sw.add_custom_scalars(layout)
        assert sw.flush(timeout=60)
    for loader in LOADERS:
        bands, lines = layouts(daemon.logdir, loader)
        assert (bands["title"], lines["title"]) == ("bands", "lines")
        # Tags are cleaned, as those of the scalars are.
        expected = [margin(*BAND), margin("x_y", "lower", "upper")]
        assert bands["chart"] == [{"title": "two", "margin": {"series": expected}}]
        assert lines["chart"] == [{"title": "one", "multiline": {"tag": ["."]}}]


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # MXNet, of SciPy
def test_graph_of_a_hybrid_block(daemon: DaemonProcess) -> None:
    mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(3, activation="relu"), mx.gluon.nn.Dense(2, use_bias=False))
    net.initialize()
    net.hybridize()
    net(mx.nd.ones((2, 4))).wait_to_read()
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_graph(net)
        assert sw.flush(timeout=60)
    for loader in LOADERS:
        with open_reader(daemon.logdir, loader) as reader:
            shown = PluginClient(GraphsPlugin, reader, daemon.logdir).get("/graph", run="run")
        nodes = text_format.Parse(shown.decode(), graph_pb2.GraphDef()).node
        dense, relu, second = (f"net_{name}_fwd" for name in ("dense0", "dense0_relu", "dense1"))
        weights = [f"{dense}/net_dense0_weight", f"{dense}/net_dense0_bias"]
        # The scopes that MXBoard gives.
        assert [(node.name, node.op, list(node.input)) for node in nodes] == [
            ("data", "null", []),
            *((weight, "null", []) for weight in weights),
            (f"{dense}/{dense}", "FullyConnected", ["data", *weights]),
            (f"{relu}/{relu}", "Activation", [f"{dense}/{dense}"]),
            (f"{second}/net_dense1_weight", "null", []),
            (
                f"{second}/{second}",
                "FullyConnected",
                [f"{relu}/{relu}", f"{second}/net_dense1_weight"],
            ),
        ]


@pytest.mark.parametrize("loader", LOADERS)
def test_ready_messages(daemon: DaemonProcess, loader: Loader) -> None:
    value = summary_pb2.Summary.Value
    graph = graph_pb2.GraphDef(node=[node_def_pb2.NodeDef(name="made", op="x")])
    summary = summary_pb2.Summary(
        value=[value(tag="one", simple_value=0.5), value(tag="two", simple_value=2)]
    )
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_scalar_tensor("tensor", 0.1, 3, display_name="A name", description="*why*")
        sw.add_summary(summary, 4, walltime=1e9)
        sw.add_event(event_pb2.Event(summary=summary, step=5, wall_time=2e9))
        sw.add_graph_def(graph.SerializeToString())
        assert sw.flush(timeout=60)
    with open_reader(daemon.logdir, loader) as reader:
        scalars = reader.scalars()["run"]
        drawn = PluginClient(GraphsPlugin, reader, daemon.logdir).get("/graph", run="run")
    assert [(point.step, point.value) for point in scalars["tensor"]] == [(3, np.float32(0.1))]
    for tag, number in (("one", 0.5), ("two", 2)):
        assert [tuple(point) for point in scalars[tag]] == [(4, 1e9, number), (5, 2e9, number)]
    assert [node.name for node in text_format.Parse(drawn.decode(), graph_pb2.GraphDef()).node] == [
        "made"
    ]
