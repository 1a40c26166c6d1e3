"""The same script with PyTorch's or tensorboardX's writer, and with its drop-in.

What TensorBoard's loaders read of both is compared, and what the drop-ins have beyond that.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, Reader, open_reader

RANDOM = np.random.default_rng(6)
VALUES = RANDOM.normal(size=500)
IMAGE = RANDOM.random((3, 6, 8)).astype(np.float32)
MASK = RANDOM.random((1, 6, 8)) > 0.5
TRUTH = RANDOM.integers(0, 2, 40)
PREDICTIONS = RANDOM.integers(0, 9, 40) / 8
CLIPS = RANDOM.integers(0, 256, (1, 2, 3, 8, 8)).astype(np.uint8)
VERTICES = RANDOM.normal(size=(1, 4, 3)).astype(np.float32)

#: Module of each original, and of its drop-in.
WRITERS = {
    "torch": ("torch.utils.tensorboard", "boardd_client.torch"),
    "tensorboardX": ("tensorboardX", "boardd_client.tensorboardX"),
}


def log(writer: Any) -> None:
    """A script that gives what it can by place."""
    writer.add_scalar("loss/acc@1", 0.5, 3, 1e9)
    writer.add_scalar("loss/acc@1", np.float64(0.25), np.int64(4))
    writer.add_scalars("curves/both", {"a": 1.0, "b": 2}, 5)
    writer.add_histogram("values", VALUES, 2, 20)
    writer.add_histogram("joined", VALUES, 2, "tensorflow", None, 40)
    writer.add_image("image", IMAGE, 1)
    writer.add_image("mask", MASK, 1)
    writer.add_images("images", np.stack([IMAGE, IMAGE]), 1)
    writer.add_image_with_boxes("boxes", IMAGE, np.array([[1, 1, 5, 4]]), 1)
    writer.add_video("video", CLIPS, 1, 4)
    writer.add_text("text", "**bold**", 6)
    writer.add_text("loss/acc@1", "a scalar's tag", 6)
    writer.add_pr_curve("curve", TRUTH, PREDICTIONS, 7, 9)
    writer.add_mesh("mesh", VERTICES, None, None, None, 8)
    writer.add_embedding(VERTICES[0], ["a", "b", "c", "d"], None, 9, "words")
    writer.add_hparams({"rate": 0.1, "layers": 2, "name": "x"}, {"hparam/loss": 0.5})
    writer.flush()
    writer.close()


def scalar_proto(writer_module: str, tag: str, value: float) -> Any:
    name = "tensorboardX.proto" if writer_module == "tensorboardX" else "tensorboard.compat.proto"
    summary = importlib.import_module(f"{name}.summary_pb2")
    return summary.Summary(value=[summary.Summary.Value(tag=tag, simple_value=value)])


@pytest.fixture(scope="module", params=sorted(WRITERS))
def logged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, DaemonProcess]]:
    """The script by both writers, in the runs ``theirs`` and ``ours``, and its original."""
    original, dropin = WRITERS[request.param]
    theirs = pytest.importorskip(original)
    ours = importlib.import_module(dropin)
    with (
        DaemonProcess(tmp_path_factory.mktemp("dropins")) as daemon,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("BOARDD_ADDRESS", daemon.address)
        patch.chdir(daemon.logdir)
        log(theirs.SummaryWriter("theirs"))
        log(ours.SummaryWriter("ours"))
        with ours.SummaryWriter(comment="-tried") as writer:
            writer.add_scalar("a", 1.0)
        with ours.SummaryWriter("ready") as writer:
            writer.close()
            writer.file_writer.add_summary(scalar_proto(request.param, "made", 7.5), 11)
            writer.add_hparams({"z": 1, "a": "text"}, {"best": 2.0}, **in_the_run(request.param))
            if request.param == "torch":
                writer.add_scalar("new", 1 / 3, 1, None, True)
                writer.add_scalar("precise", 1 / 3, 1, None, True, True)
                writer.add_image_with_boxes("twice", IMAGE, np.array([[1, 1, 5, 4]]), 1, None, 2)
            else:
                writer.add_scalar("listed", [0.5], 1)
                with writer.use_metadata(global_step=12):
                    writer.add_scalar("named", 0.5, None, None, "A name", "What it is")
        yield request.param, daemon


def in_the_run(writer: str) -> dict[str, str]:
    return {"run_name" if writer == "torch" else "name": "."}


@pytest.fixture(scope="module", params=LOADERS)
def reader(logged: tuple[str, DaemonProcess], request: pytest.FixtureRequest) -> Iterator[Reader]:
    with open_reader(logged[1].logdir, request.param) as opened:
        yield opened


def named(runs: Any, writer: str) -> dict[str, str]:
    """The runs of a writer by what follows its name; that of hyperparameters has a time there."""
    found = {}
    for run in runs:
        if run == writer or run.startswith(f"{writer}/"):
            name = run.removeprefix(writer)
            found["/hparams" if name[1:].replace(".", "").isdigit() else name] = run
    return found


def test_scalars_and_their_runs(reader: Reader) -> None:
    scalars = reader.scalars()
    ours, theirs = named(scalars, "ours"), named(scalars, "theirs")
    assert set(ours) == set(theirs)
    for name, run in theirs.items():
        expected = {
            tag: [(point.step, point.value) for point in points]
            for tag, points in scalars[run].items()
        }
        assert expected == {
            tag: [(point.step, point.value) for point in points]
            for tag, points in scalars[ours[name]].items()
        }
    assert len(ours) == 4


def test_wall_times_are_those_given(reader: Reader) -> None:
    for writer in ("ours", "theirs"):
        (first, _) = next(
            points for tag, points in reader.scalars()[writer].items() if tag.startswith("loss")
        )
        assert first.wall_time == 1e9


def test_histograms(reader: Reader) -> None:
    histograms = reader.histograms()
    for tag in ("values", "joined"):
        ((ours,), (theirs,)) = (histograms[writer][tag] for writer in ("ours", "theirs"))
        filled = [row for row in theirs.buckets if row[2]]
        np.testing.assert_array_equal(
            [row[1:] for row in ours.buckets if row[2]][:-1], [row[1:] for row in filled][:-1]
        )
        assert ours.buckets[:, 2].sum() == theirs.buckets[:, 2].sum() == VALUES.size


def test_images(reader: Reader) -> None:
    images = reader.images()
    tags = {"image", "mask", "images", "boxes", "video"}
    assert tags <= set(images["ours"])
    for tag in tags & set(images["theirs"]):
        ((ours,), (theirs,)) = (images[writer][tag] for writer in ("ours", "theirs"))
        assert (ours.step, ours.width, ours.height) == (theirs.step, theirs.width, theirs.height)


@pytest.mark.parametrize(("plugin", "step"), [("pr_curves", 7), ("mesh", 8), ("text", 6)])
def test_what_other_plugins_show(reader: Reader, plugin: str, step: int) -> None:
    tensors = reader.tensors(plugin)
    for writer in ("ours", "theirs"):
        assert {point.step for points in tensors[writer].values() for point in points} == {step}
    if plugin == "text":
        ours, theirs = (set(tensors[writer]) for writer in ("ours", "theirs"))
        assert {shown.replace("@", "_") for shown in theirs} == {
            shown.replace("@", "_") for shown in ours
        }


def test_the_default_directory_names_time_host_and_comment(reader: Reader) -> None:
    (run,) = (run for run in reader.scalars() if run.startswith("runs/"))
    assert run.endswith(f"_{socket.gethostname()}-tried")


def test_ready_messages_and_scalars_of_other_forms(
    reader: Reader, logged: tuple[str, DaemonProcess]
) -> None:
    scalars = reader.scalars()["ready"]
    assert [(point.step, point.value) for point in scalars["made"]] == [(11, 7.5)]
    assert [point.value for point in scalars["best"]] == [2.0]
    if logged[0] == "torch":
        assert [point.value for point in scalars["new"]] == [np.float32(1 / 3)]
    else:
        assert [(point.step, point.value) for point in scalars["named"]] == [(12, 0.5)]
        assert [(point.step, point.value) for point in scalars["listed"]] == [(1, 0.5)]


def test_hyperparameters_lie_in_the_run_itself_in_order(
    logged: tuple[str, DaemonProcess],
) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    with open_reader(logged[1].logdir) as reader:
        contents = reader.plugin_contents("hparams")["ready"]
    data = plugin_data_pb2.HParamsPluginData.FromString(contents["_hparams_/experiment"])
    assert [info.name for info in data.experiment.hparam_infos] == ["z", "a"]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_curves_are_not_taken_for_a_scalar(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BOARDD_ADDRESS", raising=False)  # of a daemon that writes elsewhere
    dropin = importlib.import_module(WRITERS[name][1])
    writer = dropin.SummaryWriter(os.fspath(tmp_path / "run"))
    with pytest.raises(TypeError, match="add_scalars"):
        writer.add_scalar("loss", {"a": 1.0}, 1)


def test_what_only_pytorch_has(logged: tuple[str, DaemonProcess]) -> None:
    if logged[0] != "torch":
        pytest.skip("of PyTorch's writer")
    with open_reader(logged[1].logdir) as reader:
        (twice,) = reader.images()["ready"]["twice"]
        (precise,) = reader.scalars()["ready"]["precise"]
    assert (twice.width, twice.height) == (16, 12)
    assert precise.value == 1 / 3
