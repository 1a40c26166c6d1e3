"""The two stories of the demo, from MXNet through boardd to TensorBoard's loaders."""

from __future__ import annotations

import io
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.demo import Demo, run_demo
from support.examples import digits
from support.tensorboard_reader import (
    LOADERS,
    Loader,
    event_files,
    read_events,
    read_histograms,
    read_images,
    read_scalars,
)

pytestmark = pytest.mark.slow

BATCHES = 40
NORMAL_STEPS = 10
BATCH_SIZE = 100
#: Parameters of the perceptron and how many values each has.
PARAMETERS = {
    "mnist_dense0_weight": 784 * 128,
    "mnist_dense0_bias": 128,
    "mnist_dense1_weight": 128 * 64,
    "mnist_dense1_bias": 64,
    "mnist_dense2_weight": 64 * 10,
    "mnist_dense2_bias": 10,
}
ACCURACY_RUNS = ("train_acc", "valid_acc")


def accuracy_run(name: str) -> str:
    return f"mnist/accuracy_curves/{name}"


@pytest.fixture(scope="module")
def known_digits() -> set[bytes]:
    """The pixels of every digit of the data set."""
    # They go through float32 in [0, 1] on their way.
    pixels = (digits()[0] / 255).astype(np.float32) * np.float32(255)
    return {digit.tobytes() for digit in pixels.astype(np.uint8)}


def test_it_says_what_is_there_and_how_to_look_at_it(demo: Demo) -> None:
    assert re.search(r"cross_entropy +120 scalars", demo.stdout)
    assert re.search(r"norm_dist +10 histograms", demo.stdout)
    assert re.search(r"mnist_first_minibatch +3 images", demo.stdout)
    assert f"make board LOGDIR={demo.logdir}" in demo.stdout


def test_it_leaves_neither_a_daemon_nor_its_socket(demo: Demo) -> None:
    started = re.search(r"pid (\d+): listening on unix:(\S+);", demo.stderr)
    assert started is not None, demo.stderr
    assert not Path(f"/proc/{started[1]}").exists()
    assert not Path(started[2]).parent.exists()


def test_every_run_has_one_event_file(demo: Demo) -> None:
    runs = ("normal", "mnist", *map(accuracy_run, ACCURACY_RUNS))
    assert [len(event_files(demo.logdir / run)) for run in runs] == [1] * len(runs)


@pytest.mark.parametrize("loader", LOADERS)
def test_the_cross_entropy_of_every_batch(demo: Demo, loader: Loader) -> None:
    points = read_scalars(demo.logdir, loader)["mnist"]["cross_entropy"]
    assert [point.step for point in points] == list(range(BATCHES * demo.epochs))
    values = [point.value for point in points]
    assert all(map(math.isfinite, values))
    # Untrained, it guesses among ten digits; an epoch later it has learned.
    assert values[0] == pytest.approx(math.log(10), abs=1.0)
    assert np.mean(values[-BATCHES:]) < np.mean(values[:BATCHES]) / 2
    times = [point.wall_time for point in points]
    assert times == sorted(times)


@pytest.mark.parametrize("loader", LOADERS)
def test_the_accuracies_are_those_that_training_printed(demo: Demo, loader: Loader) -> None:
    printed = re.findall(r"epoch (\d+): accuracy ([\d.]+) .*?, ([\d.]+) on", demo.stdout)
    assert len(printed) == demo.epochs
    series = read_scalars(demo.logdir, loader)
    for column, name in enumerate(ACCURACY_RUNS, start=1):
        points = series[accuracy_run(name)]["accuracy_curves"]
        assert [point.step for point in points] == [int(line[0]) for line in printed]
        logged = [point.value for point in points]
        assert logged == pytest.approx([float(line[column]) for line in printed], abs=6e-4)
        assert logged[-1] > 0.9


def test_gradients_are_histograms_of_1000_bins_over_every_value(demo: Demo) -> None:
    found: dict[str, list[int]] = {}
    for event in read_events(demo.logdir / "mnist"):
        for value in event.summary.value:
            if not value.tag.startswith("gradients/"):
                continue
            parameter = value.tag.removeprefix("gradients/")
            found.setdefault(parameter, []).append(event.step)
            histogram = value.histo
            counts = np.array(histogram.bucket)
            limits = np.array(histogram.bucket_limit)
            assert len(counts) == len(limits) == 1000
            assert counts.sum() == histogram.num == PARAMETERS[parameter]
            assert counts[0] > 0, "the first bin holds the minimum"
            assert counts[-1] > 0, "the last bin holds the maximum"
            assert limits[-1] == pytest.approx(histogram.max)
            np.testing.assert_allclose(
                np.diff(limits), (histogram.max - histogram.min) / 1000, rtol=1e-6
            )
    assert found == {parameter: list(range(demo.epochs)) for parameter in PARAMETERS}


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # MXNet, of SciPy
def test_the_shrinking_distribution_is_counted_as_numpy_counts_it(demo: Demo) -> None:
    mx = pytest.importorskip("mxnet", exc_type=ImportError)
    mx.random.seed(0)
    steps = []
    for event in read_events(demo.logdir / "normal"):
        for value in event.summary.value:
            if value.tag == "boardd/provenance":  # nobody asks for it
                continue
            data = mx.nd.random.normal(loc=0, scale=10.0 / (event.step + 1), shape=(10, 3, 8, 8))
            counts, edges = np.histogram(data.asnumpy().astype(np.float64), bins=200)
            assert value.tag == "norm_dist"
            assert list(value.histo.bucket) == counts.tolist()
            np.testing.assert_allclose(value.histo.bucket_limit, edges[1:], rtol=1e-12, atol=1e-12)
            steps.append(event.step)
    assert steps == list(range(NORMAL_STEPS))


@pytest.mark.parametrize("loader", LOADERS)
def test_histograms_reach_tensorboard_whole(demo: Demo, loader: Loader) -> None:
    series = read_histograms(demo.logdir, loader)
    assert set(series["mnist"]) == {f"gradients/{parameter}" for parameter in PARAMETERS}
    for tag, points in series["mnist"].items():
        assert [point.step for point in points] == list(range(demo.epochs))
        for point in points:
            size = PARAMETERS[tag.removeprefix("gradients/")]
            assert point.buckets[:, 2].sum() == pytest.approx(size)
    widths = [point.buckets[-1, 1] - point.buckets[0, 0] for point in series["normal"]["norm_dist"]]
    assert widths[0] > 6 * widths[-1]


@pytest.mark.parametrize("loader", LOADERS)
def test_images_are_grids_of_digits_of_the_data_set(
    demo: Demo, loader: Loader, known_digits: set[bytes]
) -> None:
    points = read_images(demo.logdir, loader)["mnist"]["mnist_first_minibatch"]
    assert [point.step for point in points] == list(range(demo.epochs))
    rows, columns, padding, side = 13, 8, 2, 28
    batches = set()
    for point in points:
        pixels = np.array(Image.open(io.BytesIO(point.encoded)))
        assert pixels.shape == (
            rows * (side + padding) + padding,
            columns * (side + padding) + padding,
        )
        assert (point.height, point.width) == pixels.shape
        corners = range(padding, pixels.shape[0], side + padding)
        tiles = [
            pixels[y : y + side, x : x + side].tobytes()
            for y in corners
            for x in range(padding, pixels.shape[1], side + padding)
        ]
        assert set(tiles[:BATCH_SIZE]) <= known_digits
        assert set(tiles[BATCH_SIZE:]) == {bytes(side * side)}
        batches.add(tuple(tiles))
    assert len(batches) == demo.epochs, "the digits are shuffled in every epoch"


def test_running_it_again_replaces_what_it_wrote_and_fails_where_a_run_is_missing(
    demo: Demo, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    shutil.copytree(demo.logdir / "normal", logdir / "normal")
    (logdir / "mine").mkdir()
    kept = logdir / "mine" / "events.out.tfevents.1.other"
    shutil.copy(event_files(demo.logdir / "normal")[0], kept)
    (logdir / "mnist").write_text("a file where the run's directory would be")

    again = run_demo(logdir, epochs=1)

    assert again.returncode == 1
    assert "epoch 0: accuracy" in again.stdout, again.stderr
    assert "mnist: cross_entropy has 0 scalars, not 40" in again.stderr
    assert "normal: " not in again.stderr
    assert len(read_histograms(logdir)["normal"]["norm_dist"]) == NORMAL_STEPS
    assert kept.exists()
