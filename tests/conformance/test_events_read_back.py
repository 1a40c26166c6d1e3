"""What the event encoders and the file writer make, as TensorBoard's loaders see it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from boardd.events import event
from boardd.events.scalars import encode_scalars
from boardd.events.values import histogram_value, image_value, scalar_value
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, default_edges
from boardd.reduce.histogram.histogram import histogram
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from support.tensorboard_reader import (
    LOADERS,
    DataServer,
    Loader,
    Reader,
    open_reader,
    read_histograms,
    read_images,
    read_run,
    read_scalars,
)
from tensorboard import data_compat
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import summary_pb2
from tensorboard.util import tensor_util

loaders = pytest.mark.parametrize("loader", LOADERS)


SCALARS = [0.0, 0.1, -1.0, 1e30, 1e300, math.inf, -math.inf, math.nan]


@loaders
def test_scalars(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    for step, value in enumerate(SCALARS):
        writer.append(event.summary(100.5 + step, step, scalar_value("größe/loss", value)))
    points = read_scalars(tmp_path, loader)["run"]["größe/loss"]
    assert [(point.step, point.wall_time) for point in points] == [
        (step, 100.5 + step) for step in range(len(SCALARS))
    ]
    with np.errstate(over="ignore"):
        expected = np.array(SCALARS).astype(np.float32)
    np.testing.assert_array_equal(np.float32([point.value for point in points]), expected)


@loaders
def test_columns_of_scalars(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    count = 3000
    tags = [b"a", b"loss/train", "größe".encode(), b"t" * 300]
    random = np.random.default_rng(1)
    step = np.arange(count)
    value = random.normal(size=count)
    tag_index = random.integers(0, len(tags), count)
    wall_time = 1.7e9 + step / 7
    writer.append(encode_scalars(wall_time, step, value, tag_index, tags))
    shown = read_scalars(tmp_path, loader)["run"]
    assert set(shown) == {tag.decode() for tag in tags}
    for index, tag in enumerate(tags):
        rows = tag_index == index
        points = shown[tag.decode()]
        assert [point.step for point in points] == step[rows].tolist()
        assert [point.wall_time for point in points] == wall_time[rows].tolist()
        assert [point.value for point in points] == value[rows].astype(np.float32).tolist()


@loaders
def test_negative_steps(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    steps = np.array([-(2**62), -5, 0, 5])
    nothing = np.zeros(4)
    writer.append(encode_scalars(nothing, steps, nothing, np.zeros(4, np.intp), [b"t"]))
    points = read_scalars(tmp_path, loader)["run"]["t"]
    assert [point.step for point in points] == steps.tolist()


def shown_by_numpy(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Buckets as TensorBoard should show them, from ``numpy.histogram``.

    No empty buckets at the ends, and the outer edges are the data's extremes
    where these lie in the outer buckets.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, edges)
    filled = np.flatnonzero(counts)
    if not filled.size:
        return np.zeros((0, 3))
    rows = slice(filled[0], filled[-1] + 1)
    left, right = edges[:-1][rows], edges[1:][rows]
    outer = np.clip(finite.min(), left[0], right[0]), np.clip(finite.max(), left[-1], right[-1])
    shown = np.stack([left, right, counts[rows]], 1)
    shown[0, 0], shown[-1, 1] = outer
    return shown


NORMAL = np.random.default_rng(2).normal(size=10_000)
HISTOGRAMS: dict[str, tuple[np.ndarray, Bins]] = {
    "equal width": (NORMAL, EqualWidth(30)),
    "1000 bins": (NORMAL.astype(np.float32), EqualWidth(1000)),
    "default edges": (NORMAL, default_edges()),
    "gap in the middle": (np.array([0.0, 0.1, 9.9, 10.0]), EqualWidth(10)),
    "one value": (np.array([3.0]), EqualWidth(5)),
    "all equal": (np.full(100, -2.5), EqualWidth(5)),
    "all zero": (np.zeros(100), default_edges()),
    "integers": (np.arange(-50, 50), EqualWidth(7)),
    "values outside the edges": (NORMAL, Edges(np.linspace(-0.5, 0.5, 9))),
    "one bucket": (NORMAL, Edges(np.array([0.0, 1.0]))),
    "all values outside": (NORMAL, Edges(np.array([100.0, 101.0, 102.0]))),
    "some not finite": (np.array([np.nan, 1.0, 2.0, np.inf, -np.inf]), EqualWidth(4)),
    "nothing finite": (np.array([np.nan, np.inf]), EqualWidth(4)),
    "empty": (np.array([]), EqualWidth(4)),
}


@loaders
def test_histograms(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    for name, (values, bins) in HISTOGRAMS.items():
        for step in (3, 4):
            value = histogram_value(name, histogram(values, bins))
            writer.append(event.summary(50.0, step, value))
    with open_reader(tmp_path, loader) as reader:
        shown = reader.histograms()["run"]
        for name, (values, bins) in HISTOGRAMS.items():
            expected = shown_by_numpy(values, histogram(values, bins).edges)
            if loader == "python":  # which keeps buckets as float32
                expected = expected.astype(np.float32)
            assert [point.step for point in shown[name]] == [3, 4], name
            for point in shown[name] + reader.served_histograms("run", name):
                assert point.wall_time == 50.0
                np.testing.assert_array_equal(point.buckets, expected, err_msg=name)


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_histogram_through_tensorboards_conversion(name: str) -> None:
    values, bins = HISTOGRAMS[name]
    made = histogram_value(name, histogram(values, bins))
    old = summary_pb2.Summary.Value.FromString(made.data)
    new = data_compat.migrate_value(old)
    assert new.metadata.plugin_data.plugin_name == "histograms"
    buckets = tensor_util.make_ndarray(new.tensor)
    expected = shown_by_numpy(values, histogram(values, bins).edges)
    np.testing.assert_array_equal(buckets, expected.astype(np.float32))


@loaders
def test_histogram_of_huge_values_does_not_break_the_file(
    writer: EventFile, tmp_path: Path, loader: Loader
) -> None:
    # TensorBoard's Python loader keeps buckets as float32, where these edges are infinite.
    huge = histogram(np.array([-1e300, 1e300]), EqualWidth(3))
    writer.append(event.summary(1.0, 1, histogram_value("huge", huge)))
    writer.append(event.summary(1.0, 1, scalar_value("after", 1.0)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
        run = read_run(tmp_path / "run", loader)
    assert run.histograms["huge"][0].buckets[:, 2].tolist() == [1, 0, 1]
    assert run.scalars["after"][0].value == 1.0


@loaders
def test_images(writer: EventFile, tmp_path: Path, loader: Loader) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300
    for step in range(15):
        writer.append(event.summary(9.0, step, image_value("digits", png, 28, 32, 3)))
    points = read_images(tmp_path, loader)["run"]["digits"]
    assert [point.step for point in points] == list(range(15))
    for point in points:
        assert (point.width, point.height) == (32, 28)
        assert point.encoded == png


@loaders
def test_a_growing_file_is_followed(tmp_path: Path, loader: Loader) -> None:
    with Roots([tmp_path]).open_run("run") as directory:
        writer = EventFile(directory)
        writer.append(event.summary(1.0, 0, scalar_value("loss", 0.0)))
        with open_reader(tmp_path, loader) as reader:
            for step in range(1, 4 if loader == "rust" else 20):
                writer.append(event.summary(1.0, step, scalar_value("loss", step)))
                reader.reload()
                assert steps_shown(reader) == list(range(step + 1))
        writer.close()


@loaders
def test_a_new_file_of_the_run_is_followed(tmp_path: Path, loader: Loader) -> None:
    # As after a fault: the first file ends in a torn record and another goes on.
    with Roots([tmp_path]).open_run("run") as directory:
        torn = event.summary(1.0, 1, scalar_value("loss", 1.0))[:-7]
        first = EventFile(directory)
        first.append(event.summary(1.0, 0, scalar_value("loss", 0.0)) + torn)
        first.close()
        with open_reader(tmp_path, loader) as reader:
            assert steps_shown(reader) == [0]
            second = EventFile(directory)
            for step in (1, 2):
                second.append(event.summary(1.0, step, scalar_value("loss", step)))
                reader.reload()
                assert steps_shown(reader) == list(range(step + 1))
            second.close()


def steps_shown(reader: Reader) -> list[int]:
    return [point.step for point in reader.scalars()["run"]["loss"]]


def test_one_loader_tails_every_record_as_it_is_appended(writer: EventFile, tmp_path: Path) -> None:
    writer.append(event.summary(1.0, 0, scalar_value("loss", 0.0)))
    loader = event_file_loader.EventFileLoader(str(writer.path))
    assert [read.step for read in loader.Load()] == [0, 0]  # the file's version, step 0
    for step in range(1, 100):
        value = image_value("i", bytes(step), 1, 1, 1) if step % 2 else scalar_value("s", step)
        writer.append(event.summary(1.0, step, value))
        assert [read.step for read in loader.Load()] == [step]
    assert list(loader.Load()) == []


def test_sub_runs_are_runs(tmp_path: Path) -> None:
    roots = Roots([tmp_path])
    for rank in range(3):
        with roots.open_run("job", f"rank_{rank}") as directory:
            writer = EventFile(directory)
            writer.append(event.summary(1.0, 1, scalar_value("loss", rank)))
            writer.close()
    for loader in LOADERS:
        shown = read_scalars(tmp_path / "job", loader)
        assert {run: tags["loss"][0].value for run, tags in shown.items()} == {
            f"rank_{rank}": float(rank) for rank in range(3)
        }
        assert read_histograms(tmp_path / "job", loader) == {}


def test_data_server_finds_no_fault_in_the_file(writer: EventFile, tmp_path: Path) -> None:
    writer.append(encode_scalars(*[np.arange(5)] * 3, np.zeros(5, np.intp), [b"t"]))
    with DataServer(tmp_path) as server:
        assert server.reader.runs() == ["run"]
        log = server.log()
    assert "Finished load cycle" in log
    assert "WARN" not in log
    assert "ERROR" not in log
