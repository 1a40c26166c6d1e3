"""Stock TensorBoard in a real browser shows every kind of data on the page made for it."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from boardd_client import SummaryWriter
from PIL import Image
from support import projector_page
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, require_browser
from support.daemon_process import DaemonProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RANDOM = np.random.default_rng(3)
STEPS = 5
PHOTO = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
VIDEO = (RANDOM.integers(0, 4, (1, 3, 1, 8, 10)) * 80).astype(np.uint8)
SAMPLES_PER_SECOND = 8000
TONE = np.sin(np.arange(SAMPLES_PER_SECOND // 2) / 8)
THRESHOLDS = 9
POINTS = RANDOM.normal(size=(9, 4)).astype(np.float32)
THUMBNAILS = RANDOM.integers(0, 256, (9, 1, 6, 6), np.uint8)

#: A red tetrahedron, which has a face towards any side.
CORNERS = np.array([[[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]], np.float32)
RED = np.array([[[255, 0, 0]] * 4])
FACES = np.array([[[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]])


def mxnet() -> Any:
    """MXNet, or None where it is not installed."""
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        return importlib.import_module("mxnet")


def log(sw: SummaryWriter) -> None:
    for step in range(STEPS):
        sw.add_scalar("loss", 1 / (step + 1), step)
        sw.add_histogram("weights", RANDOM.normal(size=500), step)
    sw.add_image("picture", PHOTO, 1, dataformats="HWC")
    sw.add_video("video", VIDEO, 2, fps=5)
    sw.add_audio("tone", TONE, SAMPLES_PER_SECOND, 3)
    sw.add_text("note", "**bold** größe", 4)
    predictions = RANDOM.integers(0, THRESHOLDS, 100) / (THRESHOLDS - 1)
    sw.add_pr_curve("quality", RANDOM.random(100) < predictions, predictions, THRESHOLDS, 5)
    sw.add_hparams({"lr": 0.125, "optimizer": "sgd"}, {"accuracy": 0.75}, name="trial")
    sw.add_mesh("tetrahedron", CORNERS, RED, FACES, global_step=6)
    sw.add_custom_scalars({"training": {"loss curve": ["Multiline", ["loss"]]}})
    sw.add_embedding("points", POINTS, [f"row {i}" for i in range(9)], THUMBNAILS)
    mx = mxnet()
    if mx is not None:
        sw.add_graph(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc"))


class Page(NamedTuple):
    """What ``read`` returns once the page shows what was logged; ``grouped`` cards are opened."""

    read: Callable[[Browser], Any]
    expected: Any
    grouped: bool = True


PAGES = {
    # Each series is drawn twice, as it is and smoothed.
    "scalars": Page(
        pages.read_scalars,
        [pages.Curves("accuracy", (1, 1)), pages.Curves("loss", (STEPS, STEPS))],
    ),
    "histograms": Page(pages.read_histograms, [pages.Histograms("weights", "run", STEPS)]),
    "distributions": Page(
        lambda browser: [
            (card.tag, card.run, len(card.spreads)) for card in pages.read_distributions(browser)
        ],
        [("weights", "run", STEPS)],
    ),
    "images": Page(
        pages.read_images,
        [pages.Image("picture", "run", 1, 30, 20), pages.Image("video", "run", 2, 10, 8)],
    ),
    "audio": Page(pages.read_audio, [pages.Audio("tone", "run", 3, 0.5)]),
    "text": Page(
        pages.read_texts, [pages.Text("note", "run", 4, "<p><strong>bold</strong> größe</p>")]
    ),
    "pr_curves": Page(
        pages.read_pr_curves, [pages.PrCurve("quality", (THRESHOLDS,), "run is at step 5")]
    ),
    # The first group is open from the start.
    "custom_scalars": Page(
        pages.read_custom_scalars,
        [pages.CustomChart("loss curve", (STEPS, STEPS), ("loss (run)",))],
        grouped=False,
    ),
    "graphs": Page(
        pages.read_graph,
        pages.Graph(frozenset({"data", "fc"}), frozenset({("data", "fc")})),
        grouped=False,
    ),
    "hparams": Page(
        pages.read_hparams,
        [
            {
                "Trial ID": "run/trial",
                "Show Metrics": "",
                "lr": "0.12500",
                "optimizer": "sgd",
                "accuracy": "0.75000",
            }
        ],
        grouped=False,
    ),
    "timeseries": Page(
        lambda browser: {
            (card.kind, card.tag) for card in pages.read_time_series(browser) if card.is_drawn
        },
        {
            ("scalar", "accuracy"),
            ("scalar", "loss"),
            ("histogram", "weights"),
            ("image", "picture"),
            ("image", "video"),
        },
    ),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_browser()
    with Browser(height=2400, webgl=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def tensorboard(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TensorBoard]:
    """TensorBoard on what a daemon has written of ``log``."""
    with (
        DaemonProcess(tmp_path_factory.mktemp("pages")) as daemon,
        SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw,
    ):
        log(sw)
        result = sw.flush(timeout=60)
        assert result, result.reason
        assert not sw.statistics().dropped
    with TensorBoard(daemon.logdir) as tensorboard:
        yield tensorboard


@pytest.fixture(autouse=True)
def no_alerts(browser: Browser) -> Iterator[None]:
    """Fails a test whose page reports an error."""
    yield
    assert pages.read_alerts(browser) == []


@pytest.mark.parametrize("plugin", PAGES)
def test_the_page_shows_what_was_logged(
    browser: Browser, tensorboard: TensorBoard, plugin: str
) -> None:
    if plugin == "graphs" and mxnet() is None:
        pytest.skip("needs mxnet")
    page = PAGES[plugin]
    pages.open_page(browser, tensorboard, plugin)
    if page.grouped:
        pages.expand_groups(browser)

    def read() -> Any:
        pages.show_outliers(browser)
        return page.read(browser)

    browser.wait_for(read, page.expected.__eq__, f"{page.expected}")


def test_the_mesh_is_drawn_in_its_colour(browser: Browser, tensorboard: TensorBoard) -> None:
    pages.open_page(browser, tensorboard, "mesh")
    browser.wait_for(
        lambda: {card[:3] for card in pages.read_meshes(browser)},
        {("tetrahedron", "run", 6)}.__eq__,
        "the mesh's card",
    )
    # WebGL clears its canvas once it is shown, so that only the page as seen has the drawing.
    browser.wait_for(lambda: red_share(browser), lambda share: share > 0.01, "a red tetrahedron")


def red_share(browser: Browser) -> float:
    """The share of the first mesh's canvas that is red."""
    box = pages.read_meshes(browser)[0].box
    with Image.open(io.BytesIO(browser.screenshot())) as picture:
        pixels = np.asarray(picture.convert("RGB").crop(box)).astype(int)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    return float(((red > green + 60) & (red > blue + 60)).mean())


def test_the_projector_draws_the_embedding(browser: Browser, tensorboard: TensorBoard) -> None:
    shown = projector_page.open_projector(browser, tensorboard)
    assert (shown.tensor, shown.points, shown.dimensions) == ("points", *POINTS.shape)
    assert next(iter(shown.first.values())) == "row 0"
    assert shown.sprite == (18, 18)
    browser.wait_for(
        lambda: projector_page.read_colours(browser), lambda count: count > 1, "drawn points"
    )
