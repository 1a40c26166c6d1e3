"""What TensorBoard's pages really show, read from their elements and drawings.

Each ``read_...`` returns what is drawn at that moment, so that a test polls it
with ``Browser.wait_for``. TensorBoard 2.x has two generations of pages: TIME
SERIES is one Angular page that draws curves on a canvas; SCALARS, IMAGES,
HISTOGRAMS and DISTRIBUTIONS are Polymer pages that draw SVG inside shadow roots.
"""

from __future__ import annotations

from typing import NamedTuple

from support.browser import Browser, TensorBoard

#: How many points a path has: its "move to" and "line to" commands.
_POINTS = "const points = path => (path.getAttribute('d') || '').split(/[ML]/).length - 1;"


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
    """A card of the DISTRIBUTIONS page; ``points`` of every line it draws, ascending."""

    tag: str
    run: str
    points: tuple[int, ...]


class Image(NamedTuple):
    """A card of the IMAGES page; ``width`` and ``height`` in pixels are 0 until it is loaded."""

    tag: str
    run: str
    step: int
    width: int
    height: int


class SeriesCard(NamedTuple):
    """A card of the TIME SERIES page.

    ``kind`` is scalar, histogram or image. ``values`` are the rows of a scalar
    card's table, run to value as it is printed; ``coloured`` is how many pixels
    of its canvas are painted; ``outlines`` counts a histogram's steps, ``width``
    is a loaded image's, in pixels.
    """

    kind: str
    tag: str
    run: str
    values: dict[str, str]
    coloured: int
    outlines: int
    width: int


def open_page(browser: Browser, tensorboard: TensorBoard, plugin: str) -> None:
    """Opens the page of ``plugin``: timeseries, scalars, images, histograms, distributions."""
    browser.open(f"{tensorboard.url}?darkMode=false#{plugin}")
    browser.wait_for(
        lambda: browser.run("return all('.mdc-tab--active .plugin-name').map(e => e.innerText)"),
        lambda names: [name.lower().replace(" ", "") for name in names] == [plugin],
        f"the {plugin} tab as the active one",
    )


def expand_groups(browser: Browser) -> None:
    """Opens every collapsed group of cards on the page."""
    browser.run(
        """
        for (const view of all('tf-category-paginated-view')) {
          const collapse = all('iron-collapse', view)[0];
          if (collapse && !collapse.opened) all('button.heading', view)[0].click();
        }
        for (const group of all('metrics-card-group-toolbar')) {
          const icon = group.querySelector('mat-icon');
          if (!group.parentElement.querySelector('card-view')) group.querySelector('button').click();
        }
        """
    )


def read_runs(browser: Browser) -> set[str]:
    """Returns the runs that are listed at the left of any page."""
    return set(
        browser.run(
            """
            return [...all('tf-multi-checkbox .name-row').map(row => row.innerText.trim()),
                    ...all('runs-data-table .name, tb-data-table-content-cell .name')
                      .map(name => name.innerText.trim())];
            """
        )
    )


def read_scalars(browser: Browser) -> list[Curves]:
    """Returns the cards of the SCALARS page."""
    cards = browser.run(
        _POINTS
        + """
        return all('tf-scalar-card').map(card => [
          all('tf-card-heading .name', card)[0]?.innerText,
          all('.line-plot path', card).map(points)]);
        """
    )
    return [Curves(tag, tuple(sorted(points))) for tag, points in cards]


def read_histograms(browser: Browser) -> list[Histograms]:
    """Returns the cards of the HISTOGRAMS page."""
    cards = browser.run(
        """
        return all('tf-histogram-loader').map(card => [
          all('tf-card-heading .name', card)[0]?.innerText,
          all('#heading-run', card)[0]?.innerText,
          all('.histogram path', card).length]);
        """
    )
    return [Histograms(*card) for card in cards]


def read_distributions(browser: Browser) -> list[Bands]:
    """Returns the cards of the DISTRIBUTIONS page."""
    cards = browser.run(
        _POINTS
        + """
        return all('tf-distribution-loader').map(card => [
          all('tf-card-heading .name', card)[0]?.innerText,
          all('#heading-run', card)[0]?.innerText,
          all('.line-plot path.line', card).map(points)]);
        """
    )
    return [Bands(tag, run, tuple(sorted(points))) for tag, run, points in cards]


def read_images(browser: Browser) -> list[Image]:
    """Returns the cards of the IMAGES page."""
    cards = browser.run(
        """
        return all('tf-image-loader').map(card => {
          const image = all('#main-image-container img', card)[0];
          const step = all('tf-card-heading .heading-label', card)
            .map(label => label.innerText.match(/^step\\s+(\\d+)/)).find(Boolean);
          const done = image && image.complete;
          return [all('tf-card-heading .name', card)[0]?.innerText,
                  all('#heading-run', card)[0]?.innerText,
                  step ? Number(step[1]) : -1,
                  done ? image.naturalWidth : 0, done ? image.naturalHeight : 0];
        });
        """
    )
    return [Image(*card) for card in cards]
