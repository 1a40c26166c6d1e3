"""The filters example, from MXNet through boardd to TensorBoard's IMAGES page."""

from __future__ import annotations

import functools
import io
import re
import socket
import tempfile
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, require_browser
from support.daemon_process import DaemonProcess
from support.examples import require_packages, run_example
from support.tensorboard_reader import LOADERS, ImagePoint, Loader, open_reader, read_images

pytestmark = pytest.mark.slow

NETWORKS = {"colour": 7, "place": 5, "rotation": 7}  #: and the side of their filters
STEPS = 50
LOGGED_STEPS = [0, 50]
RUN = "filters"
COLUMNS = 8

#: The convolutions that the model zoo's networks begin with: parameter, filters, side.
ZOO = {
    "inceptionv3": ("features.0.0.weight", 32, 3),
    "resnet152_v1": ("features.0.weight", 64, 7),
    "vgg16": ("features.0.weight", 64, 3),
}


@dataclass(frozen=True)
class Example:
    logdir: Path
    stdout: str


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    """The example with short training, run once."""
    require_packages("mxnet", "sklearn", "tensorboard")
    with tempfile.TemporaryDirectory() as directory:
        with DaemonProcess(Path(directory)) as daemon:
            done = run_example(
                "filters.py",
                *("--logdir", str(daemon.logdir / RUN)),
                *("--max-steps", str(STEPS), "--smoothness", "4"),
                address=daemon.address,
            )
        yield Example(daemon.logdir, done.stdout)


def grid_side(filter_side: int) -> int:
    return COLUMNS * (filter_side + 1) + 1


def pixels_of(point: ImagePoint) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(point.encoded)))


def neighbours_correlation(grid: np.ndarray, side: int) -> float:
    """How alike neighbouring pixels of the filters in a grid are, 0 for noise."""
    step = side + 1
    tiles = [
        grid[y : y + side, x : x + side].astype(float)
        for y in range(1, grid.shape[0], step)
        for x in range(1, grid.shape[1], step)
    ]
    correlations = []
    for tile in tiles:
        centred = tile - tile.mean()
        differences = (np.square(np.diff(tile, axis=axis)).mean() for axis in (0, 1))
        correlations.append(1 - sum(differences) / (4 * np.square(centred).mean()))
    return float(np.median(correlations))


@pytest.mark.parametrize("loader", LOADERS)
def test_filters_grow_smooth(example: Example, loader: Loader) -> None:
    images = read_images(example.logdir, loader)[RUN]
    for name, side in NETWORKS.items():
        points = images[f"filters/{name}"]
        assert [point.step for point in points] == LOGGED_STEPS
        grids = [pixels_of(point) for point in points]
        assert {grid.shape for grid in grids} == {(grid_side(side), grid_side(side), 3)}
        first, *_, last = (neighbours_correlation(grid, side) for grid in grids)
        assert abs(first) < 0.15, "it begins as noise"
        assert last > 0.4, name


def test_each_filter_has_its_full_range(example: Example) -> None:
    images = read_images(example.logdir)[RUN]
    for name, side in NETWORKS.items():
        grid = pixels_of(images[f"filters/{name}"][-1])
        tile = grid[1 : 1 + side, 1 : 1 + side]
        assert (tile.min(), tile.max()) == (0, 255)


def test_feature_maps_show_the_photograph(example: Example) -> None:
    images = read_images(example.logdir)[RUN]
    (photograph,) = images["photograph"]
    from sklearn.datasets import load_sample_image

    assert np.array_equal(pixels_of(photograph), load_sample_image("china.jpg"))
    for name in NETWORKS:
        (point,) = images[f"feature_maps/{name}"]
        assert point.step == STEPS
        grid = pixels_of(point)
        # Structure in the pagoda, little in the sky beside it.
        height, width = (size // COLUMNS for size in grid.shape[:2])
        maps = [
            grid[y * height : (y + 1) * height, x * width : (x + 1) * width].astype(float)
            for y in range(COLUMNS)
            for x in range(COLUMNS)
        ]
        inside = [map_[height // 4 : height // 2, width // 3 : width // 2].std() for map_ in maps]
        sky = [map_[height // 8 : height // 3, 3 * width // 4 : -8].std() for map_ in maps]
        assert np.median(inside) > 2 * np.median(sky), name


def test_loss_and_smoothness_are_curves(example: Example) -> None:
    with open_reader(example.logdir) as reader:
        scalars = reader.scalars()[RUN]
    for name in NETWORKS:
        losses = [point.value for point in scalars[f"loss/{name}"]]
        assert len(losses) == STEPS
        assert np.mean(losses[-20:]) < np.mean(losses[:20])
        curve = [(point.step, point.value) for point in scalars[f"smoothness/{name}"]]
        assert [step for step, _ in curve] == LOGGED_STEPS[1:]
        assert f"{name}: smoothness {curve[-1][1]:.2f} (target 4) after {STEPS}" in example.stdout


@pytest.mark.browser
def test_the_images_page_shows_all_of_them(example: Example) -> None:
    require_browser()
    expected = {
        ("photograph", 0),
        *((f"filters/{name}", STEPS) for name in NETWORKS),
        *((f"feature_maps/{name}", STEPS) for name in NETWORKS),
    }
    with TensorBoard(example.logdir) as tensorboard, Browser() as browser:
        pages.open_page(browser, tensorboard, "images")
        browser.wait_for(lambda: pages.read_runs(browser), {RUN}.__eq__, f"the run {RUN}")
        pages.expand_groups(browser)
        cards = browser.wait_for(
            lambda: pages.read_images(browser),
            lambda cards: {(card.tag, card.step) for card in cards if card.width} == expected,
            f"loaded images of {expected}",
        )
    sizes = {card.tag: (card.width, card.height) for card in cards}
    assert sizes["photograph"] == (640, 427)
    for name, side in NETWORKS.items():
        assert sizes[f"filters/{name}"] == (grid_side(side), grid_side(side))


def test_without_the_published_weights_it_trains_until_filters_are_smooth(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    require_packages("mxnet", "sklearn", "tensorboard")
    served = tmp_path / "served"
    models = served / "gluon" / "models"
    models.mkdir(parents=True)
    name = "inceptionv3-ed47ec45"
    with zipfile.ZipFile(models / f"{name}.zip", "w") as archive:
        archive.writestr(f"{name}.params", b"other weights")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            done = run_example(
                "filters.py",
                *("--logdir", str(daemon.logdir / RUN), "--max-steps", "100"),
                *("--smoothness", "0.2", "--pretrained", "--root", str(tmp_path / "models")),
                address=daemon.address,
                MXNET_GLUON_REPO=f"http://127.0.0.1:{server.server_port}/",
            )
        finally:
            server.shutdown()
            thread.join()
    assert "does not hold the published weights of inceptionv3" in done.stderr
    assert len(re.findall(r"after 50 steps", done.stdout)) == 3
    assert list((tmp_path / "models").iterdir()) == []


def test_without_an_answer_from_the_model_zoo_it_trains(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    require_packages("mxnet", "sklearn", "tensorboard")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        done = run_example(
            "filters.py",
            *("--logdir", str(daemon.logdir / RUN), "--max-steps", "1"),
            *("--pretrained", "--root", str(tmp_path / "models"), "--timeout-secs", "0.5"),
            address=daemon.address,
            MXNET_GLUON_REPO=f"http://127.0.0.1:{port}/",
        )
    assert time.monotonic() - began < 100
    assert "training small ones" in done.stderr
    assert "rotation: smoothness" in done.stdout
    assert list((tmp_path / "models").iterdir()) == []


def test_weights_of_the_model_zoo_are_used_where_they_are(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    require_packages("mxnet", "sklearn", "tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of MXNet's use of NumPy
        import mxnet as mx
        from mxnet.gluon.model_zoo import model_store

    # The first layers alone: whole files are of hundreds of megabytes.
    expected = {}
    for name, (parameter, filters, side) in ZOO.items():
        weights = {parameter: mx.nd.random.normal(shape=(filters, 3, side, side))}
        first = weights[parameter][0].asnumpy().transpose(1, 2, 0)
        expected[name] = 255 * (first - first.min()) / np.ptp(first)
        if name == "vgg16":
            weights["features.0.bias"] = mx.nd.zeros(filters)
        mx.nd.save(str(tmp_path / f"{name}-{model_store.short_hash(name)}.params"), weights)
    run_example(
        "filters.py",
        *("--logdir", str(daemon.logdir / RUN), "--root", str(tmp_path)),
        address=daemon.address,
    )

    images = read_images(daemon.logdir)[RUN]
    assert images.keys() == {
        "photograph",
        *(f"{kind}/{name}" for kind in ("filters", "feature_maps") for name in ZOO),
    }
    for name, (_, filters, side) in ZOO.items():
        grid = pixels_of(images[f"filters/{name}"][0])
        assert grid.shape == (filters // COLUMNS * (side + 1) + 1, grid_side(side), 3)
        assert np.abs(grid[1 : 1 + side, 1 : 1 + side] - expected[name]).max() <= 1
