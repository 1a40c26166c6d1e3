"""What TensorBoard's pages really show, read from their elements and drawings.

Each ``read_...`` returns what is drawn at that moment, so that a test polls it
with ``Browser.wait_for``. TensorBoard 2.x has two generations of pages: TIME
SERIES is one Angular page that draws curves on a canvas; SCALARS, IMAGES,
HISTOGRAMS and DISTRIBUTIONS are Polymer pages that draw SVG inside shadow roots.
"""

from __future__ import annotations

from typing import NamedTuple

from support.browser import Browser, TensorBoard

_JAVASCRIPT = """
// The corners of a path, its "move to" and "line to" commands, as [x, y].
const points = path => [...(path.getAttribute('d') || '').matchAll(/[ML]([^MLZ]*)/g)]
  .map(command => command[1].split(',').map(Number));
// Cards come into being piece by piece: what is not there yet reads as empty.
const heading = (card, selector) =>
  all('tf-card-heading', card).flatMap(found => all(selector, found));
const name = card => heading(card, '.name')[0]?.innerText ?? '';
const run = card => heading(card, '#heading-run')[0]?.innerText ?? '';
"""


class Curves(NamedTuple):
    """A card of the SCALARS page; ``points`` of every line it draws, ascending."""

    tag: str
    points: tuple[int, ...]


class Histograms(NamedTuple):
    """A card of the HISTOGRAMS page; ``outlines`` are drawn, one for each step."""

    tag: str
    run: str
    outlines: int


class Bands(NamedTuple):
    """A card of the DISTRIBUTIONS page.

    ``lines`` are drawn, from the minimum to the maximum; ``spreads`` is how
    far apart they are at each step, in pixels.
    """

    tag: str
    run: str
    lines: int
    spreads: tuple[float, ...]


class Image(NamedTuple):
    """A card of the IMAGES page; ``width`` and ``height`` in pixels are 0 until it is loaded."""

    tag: str
    run: str
    step: int
    width: int
    height: int


class SeriesCard(NamedTuple):
    """A card of the TIME SERIES page.

    ``kind`` is scalar, histogram or image. A scalar card has ``values``, the
    rows of its table (run to value as printed), and ``painted``, the pixels of
    its canvas that are not empty. A histogram has ``outlines``, one for each
    step. An image has ``width`` and ``height`` in pixels, 0 until it is loaded.
    """

    kind: str
    tag: str
    values: dict[str, str]
    painted: int
    outlines: int
    width: int
    height: int

    @property
    def is_drawn(self) -> bool:
        """Whether the card shows its data, not only its title."""
        return bool(self.outlines or self.width or self.painted)


def open_page(browser: Browser, tensorboard: TensorBoard, plugin: str) -> None:
    """Opens the page of ``plugin``: timeseries, scalars, images, histograms, distributions."""
    browser.open(f"{tensorboard.url}?darkMode=false#{plugin}")
    browser.wait_for(
        lambda: browser.run("return all('.mdc-tab--active .plugin-name').map(e => e.innerText)"),
        lambda names: [name.lower().replace(" ", "") for name in names] == [plugin],
        f"the {plugin} tab as the active one",
    )


def expand_groups(browser: Browser) -> None:
    """Waits for the page's groups of cards, and opens those that are collapsed."""
    browser.wait_for(
        lambda: browser.run(
            """
            const older = all('tf-category-paginated-view').filter(
              view => all('button.heading', view).length);
            for (const view of older) {
              const collapse = all('iron-collapse', view)[0];
              if (collapse && !collapse.opened) all('button.heading', view)[0].click();
            }
            const groups = all('metrics-card-group-toolbar');
            for (const group of groups) {
              const open = group.parentElement.querySelector('card-view');
              if (!open) group.querySelector('button').click();
            }
            return older.length + groups.length;
            """
        ),
        lambda count: count > 0,
        "a group of cards",
    )


def show_outliers(browser: Browser) -> None:
    """Has the SCALARS page draw points also where they lie far from most others."""
    browser.run("all('#ignore-y-outlier').filter(box => box.checked).forEach(box => box.click())")


def read_runs(browser: Browser) -> set[str]:
    """Returns the runs that are listed at the left of any page."""
    return set(
        browser.run(
            """
            return [...all('.name-row').map(row => row.innerText.trim()),
                    ...all('runs-data-table tb-data-table-content-row')
                      .map(row => row.innerText.trim())];
            """
        )
    )


def read_scalars(browser: Browser) -> list[Curves]:
    """Returns the cards of the SCALARS page."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-scalar-card').map(card => [
          name(card),
          all('.line-plot path', card).map(path => points(path).length)]);
        """
    )
    return [Curves(tag, tuple(sorted(points))) for tag, points in cards]


def read_histograms(browser: Browser) -> list[Histograms]:
    """Returns the cards of the HISTOGRAMS page."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-histogram-loader').map(card => [
          name(card),
          run(card),
          all('.histogram path', card).length]);
        """
    )
    return [Histograms(*card) for card in cards]


def read_distributions(browser: Browser) -> list[Bands]:
    """Returns the cards of the DISTRIBUTIONS page."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-distribution-loader').map(card => [
          name(card), run(card),
          all('.line-plot path.line', card).map(path => points(path).map(point => point[1]))]);
        """
    )
    return [
        Bands(
            tag,
            run,
            len(lines),
            tuple(max(heights) - min(heights) for heights in zip(*lines, strict=True)),
        )
        for tag, run, lines in cards
    ]


def read_images(browser: Browser) -> list[Image]:
    """Returns the cards of the IMAGES page."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-image-loader').map(card => {
          const image = all('#main-image-container img', card)[0];
          const step = heading(card, '.heading-label')
            .map(label => label.innerText.match(/^step\\s+(\\d+)/)).find(Boolean);
          const done = image && image.complete;
          return [name(card),
                  run(card),
                  step ? Number(step[1]) : -1,
                  done ? image.naturalWidth : 0, done ? image.naturalHeight : 0];
        });
        """
    )
    return [Image(*card) for card in cards]


def read_time_series(browser: Browser) -> list[SeriesCard]:
    """Returns the cards of the TIME SERIES page."""
    cards = browser.run(
        """
        const painted = canvas => {
          const copy = document.createElement('canvas');
          copy.width = canvas.width;
          copy.height = canvas.height;
          const context = copy.getContext('2d');
          if (!copy.width || !copy.height) return 0;
          context.drawImage(canvas, 0, 0);
          const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
          return pixels.filter((value, i) => i % 4 === 3 && value > 0).length;
        };
        return all('scalar-card, histogram-card, image-card').map(card => {
          const cells = [...card.querySelectorAll('tb-data-table-content-row')].map(row =>
            [...row.querySelectorAll('tb-data-table-content-cell')].map(c => c.innerText.trim()));
          const columns = [...card.querySelectorAll('tb-data-table-header-cell')]
            .map(cell => cell.innerText.trim());
          const canvas = card.querySelector('line-chart .series-view canvas');
          const image = card.querySelector('.img-container img');
          const done = image && image.complete;
          return [
            card.tagName.toLowerCase().replace('-card', ''),
            card.querySelector('tb-truncated-path')?.title ?? '',
            Object.fromEntries(cells.map(row =>
              [row[columns.indexOf('Run')], row[columns.indexOf('Value')]])),
            canvas ? painted(canvas) : 0,
            card.querySelectorAll('tb-histogram .histogram path').length,
            done ? image.naturalWidth : 0,
            done ? image.naturalHeight : 0];
        });
        """
    )
    return [SeriesCard(*card) for card in cards]
