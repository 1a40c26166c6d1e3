"""Evaluates what the deployed alerts use of PromQL, on samples that a test makes.

After https://prometheus.io/docs/prometheus/latest/querying/basics/. ``increase`` is left without
its extrapolation: whether it is above zero is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import promql_parser

#: Labels with the metric's name as ``__name__``.
Labels = frozenset[tuple[str, str]]
#: Times in seconds and values, by their labels; None: a scrape did not find it any more.
Series = Mapping[Labels, Sequence[tuple[float, float | None]]]
Vector = dict[Labels, float]

#: For how long the last sample counts as the present one.
LOOKBACK_SECS: Final = 300.0
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
    "==": lambda one, other: one == other,
}


def evaluate(expression: str, series: Series, at: float) -> Vector:
    """Returns what ``expression`` is at a time. Raises ``NotImplementedError`` for other PromQL."""
    found = _evaluated(promql_parser.parse(expression), series, at)
    if isinstance(found, float):
        raise NotImplementedError(f"a number: {expression}")
    return found


def _evaluated(node: Any, series: Series, at: float) -> Vector | float:
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql_parser.ParenExpr):
        return _evaluated(node.expr, series, at)
    if isinstance(node, promql_parser.VectorSelector):
        within = _samples(node, series, at, LOOKBACK_SECS)
        last = {labels: values[-1] for labels, values in within.items()}
        return {labels: value for labels, value in last.items() if value is not None}
    if isinstance(node, promql_parser.Call):
        return _call(node, series, at)
    if isinstance(node, promql_parser.AggregateExpr) and str(node.op) == "sum":
        inner = _evaluated(node.expr, series, at)
        assert isinstance(inner, dict)
        total: Vector = {}
        for labels, value in inner.items():
            kept = _only(labels, node.modifier.labels)
            total[kept] = total.get(kept, 0.0) + value
        return total
    if isinstance(node, promql_parser.BinaryExpr):
        lhs, rhs = (_evaluated(side, series, at) for side in (node.lhs, node.rhs))
        return _binary(node, lhs, rhs)
    raise NotImplementedError(type(node).__name__)


def _call(node: Any, series: Series, at: float) -> Vector | float:
    name = node.func.name
    if name == "time":
        return at
    (argument,) = node.args
    selected = _samples(argument.vector_selector, series, at, argument.range.total_seconds())
    within = {
        labels: [value for value in found if value is not None]
        for labels, found in selected.items()
        if any(value is not None for value in found)
    }
    if name == "max_over_time":
        return {_unnamed(labels): max(found) for labels, found in within.items()}
    if name != "increase":
        raise NotImplementedError(name)
    grown: Vector = {}
    for labels, found in within.items():
        if len(found) > 1:
            # A counter that is lower than before began anew.
            grown[_unnamed(labels)] = sum(
                value if value < before else value - before
                for before, value in itertools.pairwise(found)
            )
    return grown


def _samples(
    selector: Any, series: Series, at: float, within_secs: float
) -> dict[Labels, list[float | None]]:
    """The values of ``selector`` in the time up to ``at``, without its oldest instant."""
    end = at - (selector.offset or timedelta()).total_seconds()
    wanted = {("__name__", selector.name)}
    for matcher in selector.matchers.matchers:
        if matcher.op != promql_parser.MatchOp.Equal:
            raise NotImplementedError(str(matcher))
        wanted.add((matcher.name, matcher.value))
    found = {}
    for labels, samples in series.items():
        inside = [value for time, value in samples if end - within_secs < time <= end]
        if wanted <= labels and inside:
            found[labels] = inside
    return found


def _binary(node: Any, lhs: Vector | float, rhs: Vector | float) -> Vector | float:
    operator = str(node.op)
    matching = node.modifier.matching if node.modifier is not None else None

    def key(labels: Labels) -> Labels:
        return _unnamed(labels) if matching is None else _only(labels, matching.labels)

    if operator == "-" and isinstance(lhs, float) and isinstance(rhs, dict):
        return {_unnamed(labels): lhs - value for labels, value in rhs.items()}
    if operator in _COMPARISONS and isinstance(lhs, dict) and isinstance(rhs, float):
        holds = _COMPARISONS[operator]
        return {labels: value for labels, value in lhs.items() if holds(value, rhs)}
    if not (isinstance(lhs, dict) and isinstance(rhs, dict)):
        raise NotImplementedError(operator)
    there = set(map(key, rhs))
    if operator == "and":
        return {labels: value for labels, value in lhs.items() if key(labels) in there}
    if operator == "unless":
        return {labels: value for labels, value in lhs.items() if key(labels) not in there}
    if operator == "or":
        own = set(map(key, lhs))
        return lhs | {labels: value for labels, value in rhs.items() if key(labels) not in own}
    raise NotImplementedError(operator)


def _unnamed(labels: Labels) -> Labels:
    return frozenset(label for label in labels if label[0] != "__name__")


def _only(labels: Labels, names: Sequence[str]) -> Labels:
    return frozenset(label for label in labels if label[0] in names)
