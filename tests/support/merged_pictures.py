"""Takes the pictures of runs that were merged from many workers'.

Each function takes a log directory, which holds what one example wrote, and returns a PNG file.
"""

from __future__ import annotations

import io
import json
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard

WIDTH = 1400
TALL_ENOUGH = 3000
MARGIN = 12  #: pixels, below what is shown

GRADIENT_TAG = "gradients/mnist_dense0_bias"
RANKS = 4  #: of ``mxnet_dist_sync.py``
HISTOGRAMS = 15  #: of each gradient
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
        _open_curves(browser, tensorboard, "dist_sync", ["loss"])
        browser.run(
            "all('scalar-card [aria-label=\"Toggle full size mode\"]')[0].click();"
            "document.activeElement.blur();"
        )
        browser.wait_for(
            lambda: browser.run("return all('scalar-card')[0].getBoundingClientRect().width"),
            lambda width: width > WIDTH / 2,
            "a card of full size",
        )
        _await_curves(browser, ["loss"])
        return _screenshot_down_to(browser, "all('scalar-card')[0]")


def take_merged_histogram(logdir: Path) -> bytes:
    """Returns the histograms of one gradient in ``mxnet_dist_sync.py``: merged, and of each rank.

    The job must have kept all that its ranks logged.
    """
    # Else TensorBoard orders cards by when their runs began.
    pinned = [
        {"plugin": "histograms", "tag": GRADIENT_TAG, "runId": f"defaultExperimentId/{run}"}
        for run in ("dist_sync", *(f"dist_sync/rank_{rank}" for rank in range(RANKS)))
    ]
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        _open_series(browser, tensorboard, pinnedCards=json.dumps(pinned))
        browser.wait_for(
            lambda: browser.run(
                "return all('metrics-pinned-view tb-histogram .histogram path').length"
            ),
            lambda outlines: outlines >= len(pinned) * HISTOGRAMS,
            f"pinned cards of {GRADIENT_TAG}, all drawn",
        )
        return _screenshot_down_to(browser, "all('metrics-pinned-view')[0]")


def take_straggler(logdir: Path) -> bytes:
    """Returns how ``straggler.py`` shows who is slow: curves above, the table of ranks below."""
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        # The first steps, when workers start, would press all others flat.
        _open_curves(browser, tensorboard, "straggler", STRAGGLER_TAGS, ignore_outliers=True)
        curves = _screenshot_down_to(browser, "all('scalar-card').at(-1)")
        browser.resize(WIDTH, TALL_ENOUGH)
        pages.open_page(browser, tensorboard, "text")
        pages.expand_groups(browser)
        browser.wait_for(
            lambda: pages.read_texts(browser),
            lambda texts: any("<table" in text.html for text in texts),
            "the table of ranks",
        )
        latest = "all('tf-text-loader').flatMap(card => all('table', card))[0]"
        return _stacked(curves, _screenshot_down_to(browser, latest))


def _open_series(
    browser: Browser, tensorboard: TensorBoard, *, ignore_outliers: bool = False, **query: str
) -> None:
    """Opens TIME SERIES with settings in the ``query`` of its address, as TensorBoard names them.

    ``ignore_outliers`` is TensorBoard's setting of that name.
    """
    pages.open_page(browser, tensorboard, "scalars")
    browser.run(_SETTINGS, ignore_outliers)
    query["darkMode"] = "false"
    browser.open(f"{tensorboard.url}?{urllib.parse.urlencode(query)}#timeseries")


def _open_curves(
    browser: Browser,
    tensorboard: TensorBoard,
    job: str,
    tags: Sequence[str],
    *,
    ignore_outliers: bool = False,
) -> None:
    """Opens TIME SERIES with ``tags`` of a job's merged runs, and waits for their curves."""
    _open_series(
        browser,
        tensorboard,
        ignore_outliers=ignore_outliers,
        tagFilter=f"^({'|'.join(tags)})$",
        runFilter=f"^{job}(/min|/max)?$",
    )
    _await_curves(browser, tags)


def _await_curves(browser: Browser, tags: Sequence[str]) -> None:
    browser.wait_for(
        lambda: [card.tag for card in pages.read_time_series(browser) if card.is_drawn],
        [*tags].__eq__,
        f"cards of {tags}, all drawn",
    )


def _screenshot_down_to(browser: Browser, element: str) -> bytes:
    """Returns the page as a PNG file, cut off below an element, which JavaScript finds."""
    bottom = browser.run(f"return {element}.getBoundingClientRect().bottom;")
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
