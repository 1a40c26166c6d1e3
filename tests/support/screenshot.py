"""Takes the README's picture: the demo's cards, pinned side by side in TIME SERIES.

    PYTHONPATH=tests python -m support.screenshot logs/demo docs/images/demo.png

``logs/demo`` is what the demo wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, why_no_browser

WIDTH = 1400
TALL_ENOUGH = 4000
#: In the order of the picture, three in a row.
CARDS = (
    "cross_entropy",
    "accuracy_curves",
    "mnist_first_minibatch",
    "norm_dist",
    "gradients/mnist_dense0_weight",
    "gradients/mnist_dense1_bias",
)

# TensorBoard keeps these between visits. Without the table below each plot its cards are of one
# height, and the pane of settings would take the place of a third column.
_SETTINGS = """
localStorage.setItem('_tb_global_settings.timeseries', JSON.stringify(
  {timeSeriesSettingsPaneOpened: false, stepSelectorEnabled: false,
   sideBarWidthInPercent: 21}));
"""

_PIN = """
for (const tag of arguments[0]) {
  const card = all('metrics-card-groups tb-truncated-path').find(path => path.title === tag)
    .closest('card-view');
  card.querySelector('[aria-label="Pin card"]').click();
}
"""


def take(logdir: Path) -> bytes:
    """Returns the picture of the demo in ``logdir`` as a PNG file."""
    with Browser(width=WIDTH, height=TALL_ENOUGH) as browser, TensorBoard(logdir) as tensorboard:
        pages.open_page(browser, tensorboard, "scalars")
        browser.run(_SETTINGS)
        pages.open_page(browser, tensorboard, "timeseries")
        pages.expand_groups(browser)
        browser.wait_for(
            lambda: {card.tag for card in pages.read_time_series(browser)},
            {*CARDS}.issubset,
            f"cards of {CARDS}",
        )
        browser.run(_PIN, CARDS)
        browser.wait_for(
            lambda: [card.tag for card in pages.read_time_series(browser) if card.is_drawn],
            lambda tags: tuple(tags[: len(CARDS)]) == CARDS and len(tags) >= 2 * len(CARDS),
            f"pinned cards of {CARDS}, all drawn",
        )
        browser.wait_for(
            lambda: browser.run(
                "return all('.new-card-pinned').map(badge => getComputedStyle(badge).opacity)"
            ),
            lambda opacities: all(opacity == "0" for opacity in opacities),
            "no badge of a new pin any more",
        )
        bottom = browser.run("return all('metrics-pinned-view')[0].getBoundingClientRect().bottom;")
        browser.resize(WIDTH, round(bottom))
        return browser.screenshot()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Take the picture of the README.")
    parser.add_argument("logdir", type=Path, help="what the demo wrote")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args(arguments)
    if reason := why_no_browser():
        parser.exit(1, f"screenshot: {reason}\n")
    options.picture.write_bytes(take(options.logdir))


if __name__ == "__main__":
    main()
