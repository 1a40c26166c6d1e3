"""Checks of a layout of the custom scalars page, in tensorboardX's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd_client.calls import arguments

_KINDS: Final = ("Multiline", "Margin")


def categories(layout: object, shown_tag: Callable[[str], str]) -> list[pb.ChartCategory]:
    """Returns ``{category: {chart: [kind, tags]}}`` as messages, with the tags that are shown.

    Raises ``TypeError`` and ``ValueError`` for anything else.
    """
    if not isinstance(layout, Mapping):
        raise TypeError(f"layout is a {arguments.kind(layout)}, expected a dict of categories")
    if not layout:
        raise ValueError("layout has no categories")
    return [_category(title, charts, shown_tag) for title, charts in layout.items()]


def _category(title: object, charts: object, shown_tag: Callable[[str], str]) -> pb.ChartCategory:
    name = arguments.string(title, "title of a category")
    if not isinstance(charts, Mapping):
        raise TypeError(
            f"layout[{name!r}] is a {arguments.kind(charts)}, expected a dict of charts"
        )
    return pb.ChartCategory(
        title=name,
        charts=[_chart(name, title, chart, shown_tag) for title, chart in charts.items()],
    )


def _chart(
    category: str, title: object, chart: object, shown_tag: Callable[[str], str]
) -> pb.Chart:
    name = arguments.string(title, f"title of a chart in category {category!r}")
    what = f"layout[{category!r}][{name!r}]"
    if not isinstance(chart, Sequence) or isinstance(chart, str) or len(chart) != 2:
        raise TypeError(f"{what} is {chart!r}, expected [kind, tags]")
    kind = arguments.choice(chart[0], f"{what}[0]", _KINDS)
    tags = arguments.strings(chart[1], f"tags of {what}")
    if kind == "Margin" and (not tags or len(tags) % 3):
        raise ValueError(
            f"{what} has {len(tags)} tags, expected three for each line: value, lower, upper"
        )
    if not tags:
        raise ValueError(f"{what} has no tags")
    if kind == "Margin":  # tags, not expressions
        return pb.Chart(title=name, is_margin=True, tags=map(shown_tag, tags))
    return pb.Chart(title=name, tags=tags)
