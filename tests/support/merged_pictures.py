"""Takes the pictures of runs that were merged from many workers'.

Each function takes a log directory, which holds what one example wrote, and returns a PNG file.
"""

from __future__ import annotations

import io
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard

WIDTH = 1400
TALL_ENOUGH = 3000
MARGIN = 12  #: pixels, below what is shown

#: Of a job named ``%s``: the merged curves, without those of single ranks.
MERGED_RUNS = "^%s(/min|/max)?$"
GRADIENT_TAG = "gradients/mnist_dense0_bias"
HISTOGRAM_RUNS = 5  #: the merged one, and one of each of four workers
STRAGGLER_TAGS = ("boardd/group/arrival_spread_secs", "step_secs", "work_secs")

# TensorBoard keeps these between visits. Smoothed curves would not show the extremes.
_SETTINGS = """
localStorage.setItem('_tb_global_settings', JSON.stringify(
  {scalarSmoothing: 0, ignoreOutliers: arguments[0]}));
localStorage.setItem('_tb_global_settings.timeseries', JSON.stringify(
  {timeSeriesSettingsPaneOpened: false, stepSelectorEnabled: false,
   sideBarWidthInPercent: 16}));
"""


def take_band(logdir: Path) -> bytes:
    """Returns the mean of all workers' losses in ``mxnet_dist_sync.py``, and its extremes."""
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        _open_series(browser, tensorboard, tags=["loss"], runs=MERGED_RUNS % "dist_sync")
        browser.run(
            "all('scalar-card [aria-label=\"Toggle full size mode\"]')[0].click();"
            "document.activeElement.blur();"
        )
        browser.wait_for(
            lambda: browser.run("return all('scalar-card')[0].getBoundingClientRect().width"),
            lambda width: width > WIDTH / 2,
            "a card of full size",
        )
        _await_cards(browser, ["loss"])
        return _screenshot_down_to(browser, "scalar-card")


def take_merged_histogram(logdir: Path) -> bytes:
    """Returns the histograms of one gradient in ``mxnet_dist_sync.py``: merged, and of each rank.

    The job must have kept all that its ranks logged.
    """
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        _open_series(browser, tensorboard, tags=[GRADIENT_TAG], runs="", cards=HISTOGRAM_RUNS)
        return _screenshot_down_to(browser, "histogram-card")


def take_straggler(logdir: Path) -> bytes:
    """Returns how ``straggler.py`` shows who is slow: curves above, the table of ranks below."""
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        # The first steps, when workers start, would press all others flat.
        _open_series(
            browser,
            tensorboard,
            tags=STRAGGLER_TAGS,
            runs=MERGED_RUNS % "straggler",
            ignore_outliers=True,
        )
        curves = _screenshot_down_to(browser, "scalar-card")
        browser.resize(WIDTH, TALL_ENOUGH)
        pages.open_page(browser, tensorboard, "text")
        pages.expand_groups(browser)
        browser.wait_for(
            lambda: pages.read_texts(browser),
            lambda texts: any("<table" in text.html for text in texts),
            "the table of ranks",
        )
        return _stacked(curves, _screenshot_down_to(browser, "tf-text-loader"))


def _open_series(
    browser: Browser,
    tensorboard: TensorBoard,
    *,
    tags: Sequence[str],
    runs: str,
    cards: int = 1,
    ignore_outliers: bool = False,
) -> None:
    """Opens TIME SERIES with nothing but ``tags`` of the runs that match ``runs``.

    Each tag has ``cards`` cards. ``ignore_outliers`` is TensorBoard's setting of that name.
    """
    pages.open_page(browser, tensorboard, "scalars")
    browser.run(_SETTINGS, ignore_outliers)
    query = urllib.parse.urlencode(
        {"darkMode": "false", "tagFilter": f"^({'|'.join(tags)})$", "runFilter": runs}
    )
    browser.open(f"{tensorboard.url}?{query}#timeseries")
    _await_cards(browser, [*tags] * cards)


def _await_cards(browser: Browser, tags: Sequence[str]) -> None:
    browser.wait_for(
        lambda: sorted(card.tag for card in pages.read_time_series(browser) if card.is_drawn),
        sorted(tags).__eq__,
        f"cards of {tags}, all drawn",
    )


def _screenshot_down_to(browser: Browser, selector: str) -> bytes:
    """Returns the page as a PNG file, cut off below the last element that ``selector`` finds."""
    bottom = browser.run(
        "return Math.max(...all(arguments[0]).map(c => c.getBoundingClientRect().bottom));",
        selector,
    )
    browser.resize(WIDTH, round(bottom) + MARGIN)
    return browser.screenshot()


def _stacked(*pictures: bytes) -> bytes:
    """Returns PNG files of one width, one below the other."""
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    stacked = Image.new("RGB", (images[0].width, sum(image.height for image in images)))
    top = 0
    for image in images:
        stacked.paste(image, (0, top))
        top += image.height
    encoded = io.BytesIO()
    stacked.save(encoded, "PNG")
    return encoded.getvalue()
