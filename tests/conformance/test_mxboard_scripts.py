"""MXBoard 0.1.0's signatures, and scripts in the style of its examples, on boardd.

Only the scripts' import line is replaced. They run as processes of their own
against a real daemon, and TensorBoard's own loaders read what they logged.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from google.protobuf import text_format
from PIL import Image
from support.daemon_process import DaemonProcess
from support.tensorboard_plugins import (
    AudioPlugin,
    GraphsPlugin,
    PluginClient,
    ProjectorPlugin,
    TextPlugin,
)
from support.tensorboard_reader import LOADERS, Reader, open_reader
from tensorboard.compat.proto import graph_pb2
from tensorboard.plugins.projector import projector_config_pb2

EMPTY = inspect.Parameter.empty
SCRIPT_SECS = 120.0

#: MXBoard 0.1.0's calls: its parameters in their order, with their defaults.
MXBOARD: dict[str, dict[str, object]] = {
    "__init__": {
        "logdir": EMPTY,
        "max_queue": 10,
        "flush_secs": 120,
        "filename_suffix": None,
        "verbose": True,
    },
    "add_scalar": {"tag": EMPTY, "value": EMPTY, "global_step": None},
    "add_histogram": {"tag": EMPTY, "values": EMPTY, "global_step": None, "bins": "default"},
    "add_image": {"tag": EMPTY, "image": EMPTY, "global_step": None},
    "add_audio": {"tag": EMPTY, "audio": EMPTY, "sample_rate": 44100, "global_step": None},
    "add_text": {"tag": EMPTY, "text": EMPTY, "global_step": None},
    "add_embedding": {
        "tag": EMPTY,
        "embedding": EMPTY,
        "labels": None,
        "images": None,
        "global_step": None,
    },
    "add_pr_curve": {
        "tag": EMPTY,
        "labels": EMPTY,
        "predictions": EMPTY,
        "num_thresholds": EMPTY,
        "global_step": None,
        "weights": None,
    },
    "add_graph": {"net": EMPTY},
    "flush": {},
    "close": {},
    "reopen": {},
    "export_scalars": {"path": EMPTY},
    "clear_scalar_dict": {},
    "get_logdir": {},
}

#: What docs/migrating-from-mxboard.md says has another default.
OTHER_DEFAULTS = {("add_pr_curve", "num_thresholds"): 127}

#: Optional positional parameters behind MXBoard's; every other one is keyword-only.
FURTHER = {"flush": ["timeout", "level"], "close": ["timeout"], "add_graph": ["input_to_model"]}


@pytest.mark.parametrize("name", MXBOARD)
def test_signature(name: str) -> None:
    parameters = list(inspect.signature(getattr(SummaryWriter, name)).parameters.values())[1:]
    expected = MXBOARD[name]
    shared, further = parameters[: len(expected)], parameters[len(expected) :]
    assert [parameter.name for parameter in shared] == list(expected)
    for parameter in shared:
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, parameter
        default = OTHER_DEFAULTS.get((name, parameter.name), expected[parameter.name])
        assert parameter.default is default or parameter.default == default, parameter
    positional = [item.name for item in further if item.kind is not item.KEYWORD_ONLY]
    assert positional == FURTHER.get(name, [])
    assert all(parameter.default is not EMPTY for parameter in further)


CURVES = """
import numpy as np
from mxboard import SummaryWriter

xs = np.arange(start=0, stop=2 * np.pi, step=0.1)
y_sin = np.sin(xs)
y_cos = np.cos(xs)
y_exp_sin = np.exp(y_sin)
y_exp_cos = np.exp(y_cos)
y_sin2 = y_sin * y_sin
with SummaryWriter(logdir='./logs') as sw:
    for x, y1, y2, y3, y4, y5 in zip(xs, y_sin, y_cos, y_exp_sin, y_exp_cos, y_sin2):
        sw.add_scalar('curves', {'sin': y1, 'cos': y2}, x * 100)
        sw.add_scalar('curves', ('exp(sin)', y3), x * 100)
        sw.add_scalar('curves', ['exp(cos)', y4], x * 100)
        sw.add_scalar('curves', y5, x * 100)
    assert sw.get_logdir() == './logs'
    sw.flush(timeout=60)
    sw.export_scalars('scalar_dict.json')
    sw.clear_scalar_dict()
    sw.export_scalars('empty.json')
sw.reopen()
sw.add_scalar(tag='after', value=np.float32(0.5))
sw.close()
"""

MEDIA = """
import mxnet as mx
from mxboard import SummaryWriter

sw = SummaryWriter('./logs', 10, 5, '.media', False)
for i in range(3):
    data = mx.nd.normal(loc=0, scale=10.0 / (i + 1), shape=(10, 3, 8, 8))
    sw.add_histogram(tag='norml_dist', values=data, bins=200, global_step=i)
    sw.add_histogram('default_bins', data, i)
ramp = mx.nd.arange(4 * 3 * 6 * 5).reshape((4, 3, 6, 5))
sw.add_image('batch', ramp.astype('uint8'), 2)
sw.add_image(tag='image', image=ramp[0] / 100)
sw.add_image('grey', ramp[0, 0].asnumpy() / 40)
audio = mx.nd.arange(-1, 1, 0.001)
sw.add_audio(tag='ramp_audio', audio=audio, sample_rate=8000, global_step=0)
sw.add_text(tag='greetings', text='**Hello** MXNet!', global_step=0)
predictions = mx.nd.arange(100) / 100
labels = predictions > 0.25
sw.add_pr_curve('xoxo', predictions=predictions, labels=labels, num_thresholds=5, global_step=0)
sw.add_pr_curve('weighted', labels, predictions, 5, 1, mx.nd.ones((100,)) * 2)
sw.close()
"""

EMBEDDING = """
import numpy as np
from mxboard import SummaryWriter

random = np.random.RandomState(7)
embedding = random.uniform(size=(10, 6)).astype('float32')
labels = np.arange(10) % 3
images = random.uniform(size=(10, 1, 4, 4)).astype('float32')
np.savez('data.npz', embedding=embedding, labels=labels)
with SummaryWriter(logdir='./logs') as sw:
    sw.add_embedding(tag='digits', embedding=embedding, labels=labels, images=images)
    sw.add_embedding('digits', embedding * 2, labels, images, 12)
"""

GLUON = """
import mxnet as mx
from mxnet import autograd, gluon
from mxboard import SummaryWriter

mx.random.seed(3)
net = gluon.nn.HybridSequential(prefix='net_')
with net.name_scope():
    net.add(gluon.nn.Dense(8, activation='relu'))
    net.add(gluon.nn.Dense(3))
net.initialize(mx.init.Xavier())
net.hybridize()
trainer = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.1})
metric = mx.metric.Accuracy()
loss = gluon.loss.SoftmaxCrossEntropyLoss()
params = net.collect_params()
param_names = list(params.keys())

sw = SummaryWriter(logdir='./logs', flush_secs=5)
global_step = 0
for epoch in range(2):
    metric.reset()
    for i in range(3):
        data = mx.nd.random.uniform(shape=(4, 1, 2, 2))
        label = mx.nd.array([0, 1, 2, 0])
        with autograd.record():
            output = net(data)
            L = loss(output, label)
        sw.add_scalar(tag='cross_entropy', value=L.mean().asscalar(), global_step=global_step)
        global_step += 1
        L.backward()
        trainer.step(4)
        metric.update([label], [output])
        if i == 0:
            sw.add_image('first_minibatch', data, epoch)
    if epoch == 0:
        sw.add_graph(net)
    for name in param_names:
        sw.add_histogram(tag=name, values=params[name].grad(), global_step=epoch, bins=50)
    name, train_acc = metric.get()
    sw.add_scalar(tag='accuracy_curves', value=('train_acc', train_acc), global_step=epoch)
    sw.add_scalar(tag='accuracy_curves', value=('valid_acc', train_acc / 2), global_step=epoch)
sw.export_scalars('scalar_dict.json')
sw.close()
"""


def run(script: str, daemon: DaemonProcess) -> Path:
    """Runs a script in the daemon's root with its import replaced; returns the log directory."""
    if "import mxnet" in script and importlib.util.find_spec("mxnet") is None:
        pytest.skip("needs mxnet")
    ours = script.replace("from mxboard import", "from boardd_client import")
    assert ours != script
    file = daemon.logdir / "script.py"
    file.write_text(ours)
    done = subprocess.run(
        [sys.executable, file.name],
        cwd=daemon.logdir,
        env={**os.environ, "BOARDD_ADDRESS": daemon.address, "BOARDD_AUTOSTART": "0"},
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return daemon.logdir / "logs"


@contextmanager
def readers(logdir: Path) -> Iterator[list[Reader]]:
    with open_reader(logdir, LOADERS[0]) as first, open_reader(logdir, LOADERS[1]) as second:
        yield [first, second]


def pixels(reader: Reader, tag: str) -> np.ndarray:
    (point,) = reader.images()["."][tag]
    with Image.open(io.BytesIO(point.encoded)) as image:
        return np.asarray(image.convert("RGB"))


def test_curves(daemon: DaemonProcess) -> None:
    logdir = run(CURVES, daemon)
    xs = np.arange(0, 2 * np.pi, 0.1)
    sin, cos = np.sin(xs), np.cos(xs)
    # Runs are named by the curves, as MXBoard named them.
    runs = {
        "curves/sin": sin,
        "curves/cos": cos,
        "curves/exp(sin)": np.exp(sin),
        "curves/exp(cos)": np.exp(cos),
        ".": sin * sin,
    }
    with readers(logdir) as opened:
        for reader in opened:
            scalars = reader.scalars()
            assert sorted(scalars) == sorted(runs)
            for name, values in runs.items():
                points = scalars[name]["curves"]
                assert [point.step for point in points] == [int(x * 100) for x in xs]
                np.testing.assert_allclose([point.value for point in points], values, rtol=1e-6)
            (point,) = scalars["."]["after"]
            assert (point.step, point.value) == (0, 0.5)
    exported = json.loads((daemon.logdir / "scalar_dict.json").read_text())
    assert sorted(exported) == sorted(
        f"./logs/curves{name}" for name in ("", "/sin", "/cos", "/exp(sin)", "/exp(cos)")
    )
    assert [row[2] for row in exported["./logs/curves/sin"]] == pytest.approx(list(sin))
    assert json.loads((daemon.logdir / "empty.json").read_text()) == {}


def test_media(daemon: DaemonProcess) -> None:
    logdir = run(MEDIA, daemon)
    assert [path.name for path in logdir.iterdir() if not path.name.endswith(".media")] == []
    ramp = np.arange(4 * 3 * 6 * 5).reshape(4, 3, 6, 5)
    image = np.clip(ramp[0].astype(np.float32) / np.float32(100), 0, 1) * np.float32(255)
    grey = np.clip(ramp[0, 0].astype(np.float32) / 40, 0, 1) * np.float32(255)
    with readers(logdir) as opened:
        for reader in opened:
            assert reader.runs() == ["."]
            for tag in ("norml_dist", "default_bins"):
                points = reader.histograms()["."][tag]
                assert [point.step for point in points] == [0, 1, 2]
                assert [point.buckets[:, 2].sum() for point in points] == [1920] * 3
            assert set(reader.images()["."]) == {"batch", "image", "grey"}
            batch = pixels(reader, "batch")
            # MXBoard's grid: up to eight in a row, two pixels around each.
            assert batch.shape == (6 + 4, 4 * (5 + 2) + 2, 3)
            shown = [batch[2:8, 2 + 7 * n : 7 + 7 * n].transpose(2, 0, 1) for n in range(4)]
            np.testing.assert_array_equal(shown, ramp.astype(np.uint8))
            np.testing.assert_array_equal(
                pixels(reader, "image"), image.astype(np.uint8).transpose(1, 2, 0)
            )
            np.testing.assert_array_equal(
                pixels(reader, "grey"), np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
            )
            (clip,) = PluginClient(AudioPlugin, reader, logdir).json(
                "/audio", run=".", tag="ramp_audio", sample=0
            )
            assert clip["contentType"] == "audio/wav"
            (text,) = PluginClient(TextPlugin, reader, logdir).json(
                "/text", run=".", tag="greetings"
            )
            assert text["text"] == "<p><strong>Hello</strong> MXNet!</p>"
            curves = reader.tensors("pr_curves")["."]
            (curve,), (weighted,) = curves["xoxo"], curves["weighted"]
            assert (curve.step, weighted.step) == (0, 1)
            # True positives at 0, 1/4, 1/2, 3/4, 1 of 0.26 ... 0.99 being true.
            np.testing.assert_array_equal(curve.array[0], [74, 74, 50, 25, 0])
            np.testing.assert_array_equal(curve.array[1], [26, 1, 0, 0, 0])
            np.testing.assert_array_equal(weighted.array[:4], 2 * curve.array[:4])


def test_embedding(daemon: DaemonProcess) -> None:
    logdir = run(EMBEDDING, daemon)
    with np.load(daemon.logdir / "data.npz") as saved:
        embedding, labels = saved["embedding"], saved["labels"]
    config = text_format.Parse(
        (logdir / "projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig()
    )
    assert [entry.tensor_name for entry in config.embeddings] == ["digits", "digits_000012"]
    for entry in config.embeddings:
        folder = logdir / entry.tensor_name
        assert {"metadata.tsv", "sprite.png"} < {path.name for path in folder.iterdir()}
        assert entry.metadata_path == f"{entry.tensor_name}/metadata.tsv"
        assert entry.sprite.image_path == f"{entry.tensor_name}/sprite.png"
        assert list(entry.sprite.single_image_dim) == [4, 4]
    with readers(logdir) as opened:
        for reader in opened:
            plugin = PluginClient(ProjectorPlugin, reader, logdir)
            for name, matrix in (("digits", embedding), ("digits_000012", embedding * 2)):
                shown = np.frombuffer(plugin.get("/tensor", run=".", name=name), "<f4")
                np.testing.assert_array_equal(shown.reshape(10, 6), matrix)
                rows = plugin.get("/metadata", run=".", name=name).decode().split()
                assert rows == [str(label) for label in labels]


def test_gluon(daemon: DaemonProcess) -> None:
    logdir = run(GLUON, daemon)
    parameters = {f"net_dense{n}_{kind}" for n in (0, 1) for kind in ("weight", "bias")}
    with readers(logdir) as opened:
        for reader in opened:
            scalars = reader.scalars()
            assert sorted(scalars) == [
                ".",
                "accuracy_curves/train_acc",
                "accuracy_curves/valid_acc",
            ]
            assert [point.step for point in scalars["."]["cross_entropy"]] == list(range(6))
            train, valid = (
                [point.value for point in scalars[f"accuracy_curves/{name}"]["accuracy_curves"]]
                for name in ("train_acc", "valid_acc")
            )
            assert len(train) == 2
            np.testing.assert_allclose(np.array(train) / 2, valid)
            histograms = reader.histograms()["."]
            assert set(histograms) == parameters
            assert [point.step for point in histograms["net_dense0_weight"]] == [0, 1]
            assert histograms["net_dense0_weight"][0].buckets[:, 2].sum() == 8 * 4
            assert len(reader.images()["."]["first_minibatch"]) == 2
            shown = PluginClient(GraphsPlugin, reader, logdir).get("/graph", run=".").decode()
            nodes = text_format.Parse(shown, graph_pb2.GraphDef()).node
            assert [node.op for node in nodes].count("FullyConnected") == 2
            assert [node.op for node in nodes].count("Activation") == 1
            leaves = {node.name.rpartition("/")[2] for node in nodes}
            assert parameters <= leaves
    exported = json.loads((daemon.logdir / "scalar_dict.json").read_text())
    assert {name: len(rows) for name, rows in exported.items()} == {
        "./logs/cross_entropy": 6,
        "./logs/accuracy_curves/train_acc": 2,
        "./logs/accuracy_curves/valid_acc": 2,
    }
