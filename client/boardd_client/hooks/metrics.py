"""Values of MXNet's metrics, as they stand on the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import mxnet as mx


def flatten(metric: Any) -> Iterator[Any]:
    """Yields a metric, or the parts of a composite one."""
    if isinstance(metric, mx.metric.CompositeEvalMetric):
        for part in metric.metrics:
            yield from flatten(part)
    elif metric is not None:
        yield metric


def values(metric: Any) -> Iterator[tuple[str, Any]]:
    """Yields name and value of what a metric holds; nothing if it has seen no samples.

    The value covers all samples since ``reset``, even if ``reset_local`` (MXNet's
    Speedometer) came in between. MXNet's own metrics keep sums on the host, which
    ``update`` has waited for, so reading them waits for nothing.
    """
    for part in flatten(metric):
        if part.num_inst or part.global_num_inst:
            pairs: Iterable[tuple[str, Any]] = part.get_global_name_value()
            yield from pairs
