"""Stock TensorBoard in a real browser shows what the demo logged."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from support import screenshot
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, require_browser
from support.demo import Demo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BATCHES = 40
GRID_SIZE = (242, 392)  # 8 x 13 digits of 28 pixels, 2 pixels around each
GRADIENTS = [f"gradients/mnist_dense{i}_{kind}" for i in range(3) for kind in ("bias", "weight")]
TRAIN_RUN, VALID_RUN = (f"mnist/accuracy_curves/{name}_acc" for name in ("train", "valid"))
RUNS = {"mnist", TRAIN_RUN, VALID_RUN, "normal"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_browser()
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def tensorboard(browser: Browser, demo: Demo) -> Iterator[TensorBoard]:
    with TensorBoard(demo.logdir) as tensorboard:
        yield tensorboard


@pytest.fixture
def open_page(request: pytest.FixtureRequest, browser: Browser, tensorboard: TensorBoard) -> None:
    """Opens the page that the test names with ``plugin``, with all runs and all groups."""
    pages.open_page(browser, tensorboard, request.param)
    browser.wait_for(lambda: pages.read_runs(browser), RUNS.__eq__, f"the runs {sorted(RUNS)}")
    pages.expand_groups(browser)


def plugin(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("open_page", [name], indirect=True, ids=[name])


@plugin("scalars")
@pytest.mark.usefixtures("open_page")
def test_scalars_are_drawn_as_curves(browser: Browser, demo: Demo) -> None:
    pages.show_outliers(browser)
    # Each series is drawn twice, as it is and smoothed.
    expected = {
        pages.Curves("accuracy_curves", (demo.epochs,) * 4),
        pages.Curves("cross_entropy", (BATCHES * demo.epochs,) * 2),
    }
    browser.wait_for(
        lambda: set(pages.read_scalars(browser)), expected.__eq__, f"exactly {expected}"
    )


@plugin("histograms")
@pytest.mark.usefixtures("open_page")
def test_histograms_have_an_outline_for_each_step(browser: Browser, demo: Demo) -> None:
    expected = {
        *(pages.Histograms(tag, "mnist", demo.epochs) for tag in GRADIENTS),
        pages.Histograms("norm_dist", "normal", 10),
    }
    browser.wait_for(
        lambda: set(pages.read_histograms(browser)), expected.__eq__, f"exactly {expected}"
    )


@plugin("distributions")
@pytest.mark.usefixtures("open_page")
def test_the_normal_distribution_is_seen_to_shrink(browser: Browser, demo: Demo) -> None:
    expected = {
        **{(tag, "mnist"): demo.epochs for tag in GRADIENTS},
        ("norm_dist", "normal"): 10,
    }
    cards = browser.wait_for(
        lambda: pages.read_distributions(browser),
        lambda cards: {(card.tag, card.run): len(card.spreads) for card in cards} == expected,
        f"cards with {expected} steps",
    )
    (normal,) = (card for card in cards if card.tag == "norm_dist")
    assert normal.spreads[0] > 2 * normal.spreads[2] > 4 * normal.spreads[9] > 0


@plugin("images")
@pytest.mark.usefixtures("open_page")
def test_the_grid_of_digits_is_shown(browser: Browser, demo: Demo) -> None:
    expected = [pages.Image("mnist_first_minibatch", "mnist", demo.epochs - 1, *GRID_SIZE)]
    browser.wait_for(lambda: pages.read_images(browser), expected.__eq__, f"{expected}")


@plugin("timeseries")
@pytest.mark.usefixtures("open_page")
def test_time_series_shows_everything_on_one_page(browser: Browser, demo: Demo) -> None:
    def is_drawn(cards: list[pages.SeriesCard]) -> bool:
        return (
            {card.tag: card.outlines for card in cards if card.kind == "histogram"}
            == {**dict.fromkeys(GRADIENTS, demo.epochs), "norm_dist": 10}
            and {card.tag: (card.width, card.height) for card in cards if card.kind == "image"}
            == {"mnist_first_minibatch": GRID_SIZE}
            and {
                card.tag: set(card.values)
                for card in cards
                if card.kind == "scalar" and card.painted
            }
            == {"accuracy_curves": {TRAIN_RUN, VALID_RUN}, "cross_entropy": {"mnist"}}
        )

    cards = browser.wait_for(
        lambda: pages.read_time_series(browser),
        is_drawn,
        "seven histograms, one image and two plots, all drawn",
    )

    # The table below the curves has the values that training printed last.
    printed = re.findall(r"accuracy ([\d.]+) .*?, ([\d.]+) on", demo.stdout)[-1]
    (shown,) = (card.values for card in cards if card.tag == "accuracy_curves")
    assert [float(shown[run]) for run in (TRAIN_RUN, VALID_RUN)] == pytest.approx(
        [float(text) for text in printed], abs=6e-4
    )


def test_the_picture_of_the_readme_can_be_taken(demo: Demo) -> None:
    require_browser()
    picture = screenshot.take(demo.logdir)
    size = Image.open(io.BytesIO(picture)).size
    assert size[0] == screenshot.WIDTH
    assert 600 < size[1] < 1200, "two rows of cards, cut off below them"
    assert len(picture) < 400_000
