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


class Text(NamedTuple):
    """A step in a card of the TEXT page; ``html`` is what Markdown became."""

    tag: str
    run: str
    step: int
    html: str


class Audio(NamedTuple):
    """A card of the AUDIO page; ``duration_secs`` is 0 until the browser has decoded the clip."""

    tag: str
    run: str
    step: int
    duration_secs: float


class PrCurve(NamedTuple):
    """A card of the PR CURVES page: ``points`` of every line it draws, and its legend."""

    tag: str
    points: tuple[int, ...]
    legend: str


class CustomChart(NamedTuple):
    """A card of the CUSTOM SCALARS page: ``points`` of every line, ascending, and its legend."""

    title: str
    points: tuple[int, ...]
    matches: tuple[str, ...]


class Graph(NamedTuple):
    """The GRAPHS page: the labels of the nodes and the ends of the edges that are drawn."""

    nodes: frozenset[str]
    edges: frozenset[tuple[str, str]]


class Mesh(NamedTuple):
    """A card of the MESH page; the box of its canvas in pixels of the page."""

    tag: str
    run: str
    step: int
    box: tuple[int, int, int, int]


def open_page(browser: Browser, tensorboard: TensorBoard, plugin: str) -> None:
    """Opens the page of ``plugin``, as its address names it: ``timeseries``, ``pr_curves``."""
    browser.open(f"{tensorboard.url}?darkMode=false#{plugin}")
    browser.wait_for(
        lambda: browser.run("return all('.mdc-tab--active .plugin-name').map(e => e.innerText)"),
        lambda names: (
            [name.lower().replace(" ", "") for name in names] == [plugin.replace("_", "")]
        ),
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
    """Has a page of (custom) scalars draw points also where they lie far from most others."""
    browser.run(
        """
        all('paper-checkbox')
          .filter(box => box.checked && box.innerText.trim().startsWith('Ignore outliers'))
          .forEach(box => box.click());
        """
    )


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


def read_alerts(browser: Browser) -> list[str]:
    """Returns the errors that any page reports: alerts at its bottom, and dialogs."""
    return browser.run(
        """
        return all('mat-snack-bar-container, paper-dialog#error-dialog')
          .filter(alert => alert.getBoundingClientRect().height)
          .map(alert => alert.innerText);
        """
    )


def read_texts(browser: Browser) -> list[Text]:
    """Returns the steps on the TEXT page."""
    steps = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-text-loader').flatMap(card => {
          const texts = all('.text', card)
            .map(text => all('#markdown', text)[0]?.innerHTML.trim());
          return all('.step-value', card).map((step, i) =>
            [name(card), run(card), Number(step.innerText), texts[i] ?? '']);
        });
        """
    )
    return [Text(*step) for step in steps]


def read_audio(browser: Browser) -> list[Audio]:
    """Returns the cards of the AUDIO page, and has the browser load their clips."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-audio-loader').map(card => {
          const clip = all('audio', card)[0];
          if (clip) clip.preload = 'auto';
          return [name(card),
                  run(card),
                  Number(heading(card, '.heading-label strong')[0]?.innerText ?? -1),
                  clip?.readyState === HTMLMediaElement.HAVE_ENOUGH_DATA ? clip.duration : 0];
        });
        """
    )
    return [Audio(*card) for card in cards]


def read_pr_curves(browser: Browser) -> list[PrCurve]:
    """Returns the cards of the PR CURVES page."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-pr-curve-card').map(card => [
          name(card),
          all('.line-plot path.line', card).map(path => points(path).length),
          all('#step-legend .legend-row', card)
            .map(row => row.innerText.split('(')[0].split(/\\s+/).join(' ').trim()).join()]);
        """
    )
    return [PrCurve(tag, tuple(sorted(points)), legend) for tag, points, legend in cards]


def read_custom_scalars(browser: Browser) -> list[CustomChart]:
    """Returns the cards of the CUSTOM SCALARS page that are in open groups."""
    cards = browser.run(
        _JAVASCRIPT
        + """
        return all('tf-custom-scalar-multi-line-chart-card')
          .filter(card => card.getBoundingClientRect().height)
          .map(card => [
            name(card),
            all('.line-plot path.line', card).map(path => points(path).length),
            all('.match-list-entry', card)
              .map(entry => entry.textContent.replace('\u25fc', '').trim())]);
        """
    )
    return [
        CustomChart(title, tuple(sorted(points)), tuple(matches))
        for title, points, matches in cards
    ]


def read_graph(browser: Browser) -> Graph:
    """Returns what the GRAPHS page draws."""
    nodes, edges = browser.run(
        """
        const label = node => [...node.childNodes].find(child => child.nodeType === Node.TEXT_NODE);
        return [
          all('#svg g.node text.nodelabel').map(node => label(node)?.data ?? ''),
          all('#svg g.edge path.edgeline').map(
            path => path.id.replace(/^path_/, '').split('--'))];
        """
    )
    return Graph(frozenset(nodes), frozenset(map(tuple, edges)))


def read_hparams(browser: Browser) -> list[dict[str, str]]:
    """Returns the rows of the table of the HPARAMS page, column to value as printed."""
    rows = browser.run(
        """
        return all('#sessionGroupsTable').flatMap(grid => all('tr', grid))
          .filter(row => row.offsetHeight)
          .map(row => [...row.querySelectorAll('th, td')].filter(cell => cell.offsetWidth)
            .map(cell => cell.querySelector('slot')?.assignedElements()
              .map(content => content.innerText.trim()).join() ?? ''));
        """
    )
    # A row that is not laid out yet has fewer cells than the header.
    return [
        {name: value for name, value in zip(rows[0], row, strict=True) if name}
        for row in rows[1:]
        if len(row) == len(rows[0])
    ]


def read_meshes(browser: Browser) -> list[Mesh]:
    """Returns the cards of the MESH page that have a canvas."""
    cards = browser.run(
        """
        return all('tf-mesh-loader').filter(card => all('canvas', card).length).map(card => {
          const step = all('.heading-label', card)
            .map(label => label.innerText.match(/^step\\s+(\\d+)/)).find(Boolean);
          const box = all('canvas', card)[0].getBoundingClientRect();
          return [card.tag,
                  card.run,
                  step ? Number(step[1]) : -1,
                  [box.left, box.top, box.right, box.bottom].map(Math.round)];
        });
        """
    )
    return [Mesh(tag, run, step, tuple(box)) for tag, run, step, box in cards]
