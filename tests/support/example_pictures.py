"""Takes the documentation's pictures of examples.

    PYTHONPATH=tests python -m support.example_pictures filters logs/filters filters.png
    PYTHONPATH=tests python -m support.example_pictures embedding logs/embedding embedding.png
    PYTHONPATH=tests python -m support.example_pictures band logs/workers band.png

The log directory is what the example wrote: ``mxnet_dist_sync.py`` for the pictures ``band`` and
``merged_histogram``, and else the one of the picture's name.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from support import merged_pictures, projector_page
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, why_no_browser

WIDTH = 1400
TALL_ENOUGH = 3000
PROJECTOR_HEIGHT = 900
TSNE_ITERATIONS = 400
HEALTH_CHARTS = 8  #: norms, norms of layers, zeros, NaN; of gradients and of parameters
COLOURS = 256  #: of the PNG file's palette
FILTER_IMAGES = 7  #: three grids of filters, three of feature maps, the photograph

# Room for three cards in a row.
_HIDE_SIDEBAR = """
for (const bar of all('#sidebar')) bar.style.display = 'none';
for (const view of all('tf-image-loader')) view.style.width = '400px';
"""


def take_filters(logdir: Path) -> bytes:
    """Returns the IMAGES page with the grids of all networks as a PNG file."""
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        pages.open_page(browser, tensorboard, "images")
        pages.expand_groups(browser)
        browser.run(_HIDE_SIDEBAR)
        browser.wait_for(
            lambda: [card.width for card in pages.read_images(browser)],
            lambda widths: len(widths) == FILTER_IMAGES and all(widths),
            f"{FILTER_IMAGES} loaded images",
        )
        browser.run(_HIDE_SIDEBAR)  # of cards that came later
        bottom = browser.run(
            "return Math.max(...all('tf-image-loader').map(c => c.getBoundingClientRect().bottom));"
        )
        browser.resize(WIDTH, round(bottom) + 8)
        return browser.screenshot()


def take_embedding(logdir: Path) -> bytes:
    """Returns the PROJECTOR page after t-SNE, coloured by digit, as a PNG file."""
    with (
        TensorBoard(logdir) as tensorboard,
        Browser(width=WIDTH, height=PROJECTOR_HEIGHT, webgl=True) as browser,
    ):
        projector_page.open_projector(browser, tensorboard)
        projector_page.colour_by(browser, "digit")
        projector_page.start_tsne(browser, dimensions=2)
        while projector_page.read_iterations(browser) < TSNE_ITERATIONS:
            # The page's time is bounded for one step of it, not for all of them.
            done = projector_page.read_iterations(browser)
            browser.wait_for(
                lambda: projector_page.read_iterations(browser),
                done.__lt__,
                f"more than {done} iterations of t-SNE",
            )
        projector_page.stop_tsne(browser)
        return browser.screenshot()


def take_vanishing(logdir: Path) -> bytes:
    """Returns the CUSTOM SCALARS page with the norms of both networks as a PNG file."""
    with TensorBoard(logdir) as tensorboard, Browser(width=WIDTH, height=TALL_ENOUGH) as browser:
        pages.open_page(browser, tensorboard, "custom_scalars")
        browser.wait_for(
            lambda: [len(chart.points) for chart in pages.read_custom_scalars(browser)],
            lambda lines: len(lines) >= HEALTH_CHARTS and all(lines),
            f"{HEALTH_CHARTS} charts with lines",
        )
        browser.run(_HIDE_SIDEBAR)
        bottom = browser.run(
            "return Math.max(...all('tf-custom-scalar-multi-line-chart-card')"
            ".map(c => c.getBoundingClientRect().bottom));"
        )
        browser.resize(WIDTH, round(bottom) + 8)
        return browser.screenshot()


PICTURES = {
    "filters": take_filters,
    "embedding": take_embedding,
    "band": merged_pictures.take_band,
    "merged_histogram": merged_pictures.take_merged_histogram,
    "vanishing": take_vanishing,
    "straggler": merged_pictures.take_straggler,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Take a picture of an example in TensorBoard.")
    parser.add_argument("name", choices=PICTURES, help="which picture")
    parser.add_argument("logdir", type=Path, help="what the example wrote")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args(arguments)
    if reason := why_no_browser():
        parser.exit(1, f"example_pictures: {reason}\n")
    with Image.open(io.BytesIO(PICTURES[options.name](options.logdir))) as picture:
        picture.convert("RGB").quantize(COLOURS, kmeans=3).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
