"""TensorBoard's PROJECTOR page: what it has loaded and draws, and its controls.

The page lives in a frame within a frame, and draws with WebGL: open it in a
``Browser(webgl=True)``.
"""

from __future__ import annotations

from typing import NamedTuple

from support import tensorboard_pages as pages
from support.browser import Browser, TensorBoard

_JAVASCRIPT = """
const outer = document.querySelector('iframe')?.contentDocument;
const inner = outer?.querySelector('iframe')?.contentDocument;
const part = name => inner && all(name, inner)[0];
const projector = part('vz-projector');
"""


class Projector(NamedTuple):
    """What the page has loaded.

    ``labels`` are the columns of the metadata, of which ``first`` are those of
    the first point; ``sprite`` is the width and height of its image in pixels;
    ``colours`` are the columns that points can be coloured by.
    """

    tensor: str
    points: int
    dimensions: int
    labels: tuple[str, ...]
    first: dict[str, str]
    sprite: tuple[int, int]
    colours: tuple[str, ...]


def open_projector(browser: Browser, tensorboard: TensorBoard) -> Projector:
    """Opens the page and waits until points, metadata and sprite are loaded."""
    pages.open_page(browser, tensorboard, "projector")
    loaded = browser.wait_for(
        lambda: read_projector(browser), lambda read: read is not None, "a loaded projector"
    )
    assert loaded is not None
    return loaded


def read_projector(browser: Browser) -> Projector | None:
    """Returns what is loaded, None until all of it is."""
    read = browser.run(
        _JAVASCRIPT
        + """
        const data = projector?.dataSet;
        const about = data?.spriteAndMetadataInfo;
        if (!about?.stats?.length || !about.spriteImage?.complete) return null;
        return [
          part('vz-projector-data-panel').selectedTensor,
          data.points.length,
          data.dim[1],
          about.stats.map(column => column.name),
          Object.fromEntries(Object.entries(data.points[0].metadata)
            .map(([name, value]) => [name, String(value)])),
          [about.spriteImage.naturalWidth, about.spriteImage.naturalHeight],
          part('vz-projector-data-panel').colorOptions.map(option => option.name),
        ];
        """
    )
    if read is None:
        return None
    tensor, points, dimensions, labels, first, sprite, colours = read
    return Projector(
        tensor, points, dimensions, tuple(labels), first, tuple(sprite), tuple(colours)
    )


def colour_by(browser: Browser, column: str) -> None:
    """Colours the points by a column of the metadata, one colour for each of its values."""
    browser.run(
        _JAVASCRIPT
        + """
        const panel = part('vz-projector-data-panel');
        panel.selectedColorOptionName = arguments[0];
        if (panel.showForceCategoricalColorsCheckbox) {
          all('#force-categorical-checkbox', panel)[0].click();
        }
        """,
        column,
    )


def search(browser: Browser, column: str, text: str) -> None:
    """Searches the points whose ``column`` contains ``text``."""
    browser.run(
        _JAVASCRIPT
        + """
        const panel = part('vz-projector-inspector-panel');
        panel.selectedMetadataField = arguments[0];
        const input = all('input', panel.searchBox)[0];
        input.value = arguments[1];
        input.dispatchEvent(new Event('input', {bubbles: true, composed: true}));
        """,
        column,
        text,
    )


def read_matches(browser: Browser) -> int:
    """Returns how many points the search has selected."""
    return browser.run(_JAVASCRIPT + "return projector.selectedPointIndices.length;")


def start_tsne(browser: Browser, *, dimensions: int = 3) -> None:
    """Starts t-SNE in two or three dimensions; it goes on until ``stop_tsne``."""
    browser.run(
        _JAVASCRIPT
        + """
        const panel = part('vz-projector-projections-panel');
        all('#tsne-tab', panel)[0].click();
        panel.tSNEis3d = arguments[0] === 3;
        all('.run-tsne', panel)[0].click();
        """,
        dimensions,
    )


def stop_tsne(browser: Browser) -> None:
    """Stops t-SNE where it is."""
    browser.run(_JAVASCRIPT + "projector.dataSet.stopTSNE();")


def read_iterations(browser: Browser) -> int:
    """Returns how many iterations of t-SNE have been done."""
    return browser.run(_JAVASCRIPT + "return projector.dataSet.tSNEIteration;")


def read_positions(browser: Browser, column: str) -> list[tuple[str, list[float]]]:
    """Returns each point's label in ``column`` and where t-SNE has put it."""
    read = browser.run(
        _JAVASCRIPT
        + """
        const axes = part('vz-projector-projections-panel').tSNEis3d ? [0, 1, 2] : [0, 1];
        return projector.dataSet.points.map(point =>
          [String(point.metadata[arguments[0]]), axes.map(i => point.projections['tsne-' + i])]);
        """,
        column,
    )
    return [(label, position) for label, position in read]


def read_colours(browser: Browser) -> int:
    """Returns how many colours the picture of the points has, counted coarsely."""
    return browser.run(
        _JAVASCRIPT
        + """
        const plot = projector.projectorScatterPlotAdapter.scatterPlot;
        plot.render();  // WebGL clears what it has drawn once it is shown
        const canvas = all('#scatter canvas', inner)[0];
        const copy = document.createElement('canvas');
        [copy.width, copy.height] = [canvas.width, canvas.height];
        const context = copy.getContext('2d');
        context.drawImage(canvas, 0, 0);
        const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
        const seen = new Set();
        for (let i = 0; i < pixels.length; i += 4) {
          seen.add((pixels[i] >> 5) * 64 + (pixels[i + 1] >> 5) * 8 + (pixels[i + 2] >> 5));
        }
        return seen.size;
        """
    )
