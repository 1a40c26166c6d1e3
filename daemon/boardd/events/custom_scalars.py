"""The layout of TensorBoard's custom scalars page.

TensorBoard merges the layouts of all runs: categories of one title become one.
The last one that a run wrote counts (tensorboard/plugins/custom_scalar/).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from boardd_protos.invalid import InvalidRecordError
from boardd_protos.tags import CUSTOM_SCALARS_TAG

from boardd.events import plugins_pb2 as plugins
from boardd.events.event_pb2 import Summary
from boardd.events.tensors import bytes_proto, plugin_value

#: Names that the plugin defines (tensorboard/plugins/custom_scalar/metadata.py).
PLUGIN: Final = "custom_scalars"


class Chart(NamedTuple):
    """A chart of the scalars whose tags match one of ``tags``, or a line with a band.

    With ``is_margin``, ``tags`` are three for each line: the tags of its value
    and of the band's lower and upper bound. Else they are regular expressions,
    matched from the start of a tag.
    """

    title: str
    tags: Sequence[str]
    is_margin: bool = False


class Category(NamedTuple):
    """Charts under one heading."""

    title: str
    charts: Sequence[Chart]


def custom_scalars_value(categories: Iterable[Category]) -> Summary.Value:
    """The layout of the page; its tag is the plugin's own.

    Raises ``InvalidRecordError`` on a chart without tags, and a margin chart whose tags
    do not come in threes.
    """
    layout = plugins.Layout(
        version=0,
        category=[
            plugins.Category(title=category.title, chart=map(_chart, category.charts))
            for category in categories
        ],
    )
    return plugin_value(CUSTOM_SCALARS_TAG, bytes_proto(layout.SerializeToString()), PLUGIN)


def _chart(chart: Chart) -> plugins.Chart:
    if not chart.tags:
        raise InvalidRecordError(f"chart {chart.title!r} has no tags")
    if not chart.is_margin:
        return plugins.Chart(
            title=chart.title, multiline=plugins.MultilineChartContent(tag=chart.tags)
        )
    if len(chart.tags) % 3:
        raise InvalidRecordError(
            f"margin chart {chart.title!r} has {len(chart.tags)} tags; "
            "give value, lower and upper for each line"
        )
    lines = zip(chart.tags[::3], chart.tags[1::3], chart.tags[2::3], strict=True)
    return plugins.Chart(
        title=chart.title,
        margin=plugins.MarginChartContent(
            series=[
                plugins.MarginChartContent.Series(value=value, lower=lower, upper=upper)
                for value, lower, upper in lines
            ]
        ),
    )
