"""Stock TensorBoard in a real browser shows what several ranks logged as one run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import projector_page
from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard, require_browser
from support.daemon_process import DaemonProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RANKS = 4
STEPS = 5
THRESHOLDS = 9
ROWS = 9  #: of each rank's embedding
SIDE, PADDING = 16, 2  #: pixels of each rank's image, and between those of two ranks
END_SECS = 60.0

RANK = f"""
import sys
import numpy as np
from boardd_client import SummaryWriter
logdir, rank = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(rank)
with SummaryWriter(logdir, rank=rank, world_size={RANKS}) as sw:
    for step in range({STEPS}):
        sw.add_scalar("loss", rank + 1 / (step + 1), step)
        sw.add_histogram("weights", random.normal(rank, 1, 500), step, bins=32)
    sw.add_image("picture", np.full((3, {SIDE}, {SIDE}), 60 * rank, np.uint8), {STEPS})
    predictions = random.integers(0, {THRESHOLDS}, 100) / ({THRESHOLDS} - 1)
    sw.add_pr_curve("quality", random.random(100) < predictions, predictions, {THRESHOLDS}, {STEPS})
    sw.add_embedding(
        "points",
        random.normal(size=({ROWS}, 4)).astype(np.float32),
        [f"row {{i}} of {{rank}}" for i in range({ROWS})],
        random.integers(0, 256, ({ROWS}, 1, 6, 6), np.uint8),
        {STEPS},
    )
    sw.add_text("note", f"**rank {{rank}}**", {STEPS})
    assert sw.flush(timeout=60)
"""

RUNS = {"run", "run/min", "run/max", *(f"run/rank_{rank}" for rank in range(RANKS))}
GRID = RANKS * (SIDE + PADDING) + PADDING, SIDE + 2 * PADDING  #: width and height

#: By page, what it shows, and what that must be.
PAGES: dict[str, tuple[Callable[[Browser], Any], Any]] = {
    # Each series is drawn twice, as it is and smoothed.
    "scalars": (
        lambda browser: [card for card in pages.read_scalars(browser) if card.tag == "loss"],
        [pages.Curves("loss", (STEPS,) * 2 * len(RUNS))],
    ),
    "histograms": (pages.read_histograms, [pages.Histograms("weights", "run", STEPS)]),
    "images": (pages.read_images, [pages.Image("picture", "run", STEPS, *GRID)]),
    "pr_curves": (
        pages.read_pr_curves,
        [pages.PrCurve("quality", (THRESHOLDS,), f"run is at step {STEPS}")],
    ),
    "text": (
        lambda browser: [text for text in pages.read_texts(browser) if text.tag == "note"],
        [pages.Text("note", "run", STEPS, "<p><strong>rank 0</strong></p>")],
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
    """TensorBoard on what a daemon has merged."""
    with DaemonProcess(tmp_path_factory.mktemp("merged")) as daemon:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", RANK, str(daemon.logdir / "run"), str(rank)],
                env={**os.environ, "BOARDD_ADDRESS": daemon.address},
            )
            for rank in range(RANKS)
        ]
        assert [rank.wait(END_SECS) for rank in ranks] == [0] * RANKS
    with TensorBoard(daemon.logdir) as tensorboard:
        yield tensorboard


@pytest.mark.parametrize("plugin", PAGES)
def test_a_page_shows_the_ranks_as_one(
    browser: Browser, tensorboard: TensorBoard, plugin: str
) -> None:
    read, expected = PAGES[plugin]
    pages.open_page(browser, tensorboard, plugin)
    browser.wait_for(lambda: pages.read_runs(browser), RUNS.issuperset, f"no runs but {RUNS}")
    pages.expand_groups(browser)

    def read_all() -> Any:
        pages.show_outliers(browser)
        return read(browser)

    browser.wait_for(read_all, expected.__eq__, f"{expected}")
    assert pages.read_alerts(browser) == []


def test_the_table_of_ranks_has_each_of_them(browser: Browser, tensorboard: TensorBoard) -> None:
    pages.open_page(browser, tensorboard, "text")
    pages.expand_groups(browser)
    (table, *_) = browser.wait_for(
        lambda: [text.html for text in pages.read_texts(browser) if text.tag == "boardd/group"],
        lambda tables: any("<table" in table for table in tables),
        "a table of ranks",
    )
    assert table.count("<tr") == 1 + RANKS


def test_the_group_tells_that_every_rank_is_in_every_step(
    browser: Browser, tensorboard: TensorBoard
) -> None:
    pages.open_page(browser, tensorboard, "timeseries")
    pages.expand_groups(browser)
    cards = browser.wait_for(
        lambda: {card.tag: card for card in pages.read_time_series(browser) if card.is_drawn},
        {"loss", "boardd/group/coverage", "boardd/group/late"}.issubset,
        "the curves of the group",
    )
    assert cards["boardd/group/coverage"].values == {"run": str(RANKS)}
    assert cards["boardd/group/late"].values == {"run": "0"}


def test_the_projector_has_the_rows_of_all_ranks(
    browser: Browser, tensorboard: TensorBoard
) -> None:
    shown = projector_page.open_projector(browser, tensorboard)
    assert (shown.tensor, shown.points, shown.dimensions) == (f"points_{STEPS:06}", RANKS * ROWS, 4)
    assert "rank" in shown.labels
    assert shown.first["rank"] == "0"
    assert "rank" in shown.colours
    browser.wait_for(
        lambda: projector_page.read_colours(browser), lambda count: count > 1, "drawn points"
    )
