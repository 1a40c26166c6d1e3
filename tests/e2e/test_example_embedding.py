"""The embedding example, from MXNet through boardd to TensorBoard's projector."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import projector_page as page
from support.browser import Browser, TensorBoard, require_browser
from support.daemon_process import DaemonProcess
from support.examples import digits, require_packages, run_example
from support.tensorboard_plugins import PluginClient, ProjectorPlugin
from support.tensorboard_reader import LOADERS, Loader, open_reader, read_scalars

pytestmark = pytest.mark.slow

IMAGES = 2304
TILES = 48  #: in a row of the sprite
SIDE = 28
EPOCHS = 3
TENSOR = "digits_000003"
RUN = "embedding"

#: Enough for groups to part.
ITERATIONS = 60
#: A digit's nearest neighbour is the same digit so often: by chance one in ten.
NEIGHBOURS_ALIKE = 0.85


@dataclass(frozen=True)
class Example:
    logdir: Path
    stdout: str


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    """The example, run once."""
    require_packages("mxnet", "mlxtend", "tensorboard")
    with tempfile.TemporaryDirectory() as directory:
        with DaemonProcess(Path(directory)) as daemon:
            arguments = ("--logdir", str(daemon.logdir / RUN), "--epochs", str(EPOCHS))
            done = run_example("embedding.py", *arguments, address=daemon.address)
        yield Example(daemon.logdir, done.stdout)


@pytest.fixture(scope="module")
def unseen() -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of the images that are embedded, in their order."""
    pixels, labels = digits()
    order = np.random.RandomState(0).permutation(len(labels))[:IMAGES]
    return pixels[order].reshape(-1, SIDE, SIDE), labels[order]


def fetch_metadata(client: PluginClient) -> list[dict[str, str]]:
    text = client.get("/metadata", run=RUN, name=TENSOR).decode()
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def neighbours_alike(points: np.ndarray, labels: np.ndarray) -> float:
    """The share of points whose nearest other point has the same label."""
    squares = np.square(points).sum(axis=1)
    distances = squares[:, np.newaxis] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


@pytest.mark.parametrize("loader", LOADERS)
def test_loss_and_accuracy_are_curves(example: Example, loader: Loader) -> None:
    scalars = read_scalars(example.logdir, loader)[RUN]
    losses = [point.value for point in scalars["cross_entropy"]]
    assert len(losses) == EPOCHS * ((5000 - IMAGES) // 64)
    assert np.mean(losses[-20:]) < 0.2 < 1 < losses[0]
    (accuracy,) = scalars["accuracy"]
    assert accuracy.value > 0.9
    assert f"accuracy {accuracy.value:.3f} on {IMAGES} digits" in example.stdout


def test_the_projector_is_served_points_labels_and_sprite(
    example: Example, unseen: tuple[np.ndarray, np.ndarray]
) -> None:
    with open_reader(example.logdir, "rust") as reader:
        client = PluginClient(ProjectorPlugin, reader, example.logdir)
        assert client.json("/runs") == [RUN]
        (info,) = client.json("/info", run=RUN)["embeddings"]
        assert info["tensorName"] == TENSOR
        assert info["tensorShape"] == [IMAGES, 200]
        assert info["sprite"]["singleImageDim"] == [SIDE, SIDE]
        tensor = client.get("/tensor", run=RUN, name=TENSOR)
        points = np.frombuffer(tensor, "<f4").reshape(IMAGES, 200)
        metadata = fetch_metadata(client)
        sprite = np.asarray(
            Image.open(io.BytesIO(client.get("/sprite_image", run=RUN, name=TENSOR))).convert("L")
        )

    # Principal components: centred, not correlated, each of no more variance than the one before.
    covariance = np.cov(points.astype(np.float64), rowvar=False)
    variances = np.diag(covariance)
    assert np.abs(points.mean(axis=0)).max() < 1e-3 * np.sqrt(variances[0])
    assert (np.diff(variances) <= 1e-6 * variances[0]).all()
    assert np.abs(covariance - np.diag(variances)).max() < 1e-4 * variances[0]

    pixels, labels = unseen
    assert [int(row["digit"]) for row in metadata] == labels.tolist()
    hits = np.mean([row["digit"] == row["predicted"] for row in metadata])
    assert f"accuracy {hits:.3f} on" in example.stdout

    assert sprite.shape == (TILES * SIDE, TILES * SIDE)
    tiles = sprite.reshape(TILES, SIDE, TILES, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    # Through float32 in [0, 1] and back, a pixel may be off by one.
    assert np.abs(tiles.astype(int) - (255 - pixels.astype(int))).max() <= 1


def test_neighbours_are_the_same_digit(example: Example) -> None:
    with open_reader(example.logdir, "python") as reader:
        client = PluginClient(ProjectorPlugin, reader, example.logdir)
        tensor = client.get("/tensor", run=RUN, name=TENSOR)
        digits = np.array([row["digit"] for row in fetch_metadata(client)])
    points = np.frombuffer(tensor, "<f4").reshape(IMAGES, 200)
    assert neighbours_alike(points, digits) > NEIGHBOURS_ALIKE


@pytest.mark.browser
def test_the_page_shows_clusters_and_finds_labels(
    example: Example, unseen: tuple[np.ndarray, np.ndarray]
) -> None:
    require_browser()
    with (
        TensorBoard(example.logdir / RUN) as tensorboard,
        Browser(width=1000, height=600, webgl=True) as browser,
    ):
        shown = page.open_projector(browser, tensorboard)
        assert shown.tensor == TENSOR
        assert (shown.points, shown.dimensions) == (IMAGES, 200)
        assert shown.labels == ("digit", "predicted")
        assert shown.sprite == (TILES * SIDE, TILES * SIDE)
        assert {"digit", "predicted"} <= {*shown.colours}

        fours = int((unseen[1] == 4).sum())
        page.search(browser, "digit", "4")
        browser.wait_for(
            lambda: page.read_matches(browser), fours.__eq__, f"{fours} points that match"
        )
        page.search(browser, "digit", "")
        browser.wait_for(lambda: page.read_matches(browser), lambda n: n == 0, "no match")

        page.colour_by(browser, "digit")
        browser.wait_for(
            lambda: page.read_colours(browser), lambda count: count >= 30, "points in ten colours"
        )

        page.start_tsne(browser, dimensions=2)
        for enough in range(1, ITERATIONS + 1):  # each in time, on a busy machine too
            browser.wait_for(
                lambda: page.read_iterations(browser),
                lambda done, enough=enough: done >= enough,
                f"{enough} iterations of t-SNE",
            )
        page.stop_tsne(browser)
        digits, positions = zip(*page.read_positions(browser, "digit"), strict=True)
    assert neighbours_alike(np.array(positions), np.array(digits)) > NEIGHBOURS_ALIKE


def test_what_it_prints(example: Example) -> None:
    assert len(re.findall(r"^epoch \d: accuracy", example.stdout, re.MULTILINE)) == EPOCHS
