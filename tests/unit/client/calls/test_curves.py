"""Curves that come together again and again have a template."""

from __future__ import annotations

import numpy as np
import pytest
from boardd_client.calls.curves import CurveTemplates

NAMES = ("a", "b", "c")


def make_templates() -> CurveTemplates:
    templates = CurveTemplates()
    templates.add("loss", NAMES, [7, 9, 8])
    return templates


def test_values_are_packed_in_the_order_of_the_names() -> None:
    found = make_templates().find("loss", {"a": 1.5, "b": -2, "c": float("inf")})
    assert found is not None
    targets, numbers = found
    assert targets.tolist() == [7, 9, 8]
    assert numbers.tolist() == [1.5, -2.0, float("inf")]


@pytest.mark.parametrize(
    "values",
    [
        {"a": 1.0, "b": 2.0},
        {"b": 1.0, "a": 2.0, "c": 3.0},
        {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0},
        {"a": 1.0, "b": 2.0, "c": np.float32(3.0)},
        {"a": 1.0, "b": 2.0, "c": True},
        {"a": 1.0, "b": 2.0, "c": "3"},
        {"a": 1.0, "b": 2.0, "c": 10**400},
    ],
)
def test_other_names_and_what_needs_a_look_have_none(values: dict[str, object]) -> None:
    assert make_templates().find("loss", values) is None


def test_another_tag_has_none() -> None:
    assert make_templates().find("accuracy", dict.fromkeys(NAMES, 1.0)) is None


def test_names_are_repeated_when_they_come_twice_in_a_row() -> None:
    templates = CurveTemplates()
    assert [templates.is_repeated("loss", NAMES) for _ in range(2)] == [False, True]
    assert not templates.is_repeated("loss", ("a", "b"))
    assert not templates.is_repeated("loss", NAMES)
    templates.add("loss", NAMES, [1, 2, 3])
    assert not templates.is_repeated("loss", NAMES)


@pytest.mark.parametrize("names", [("a",), (1, 2), ("a", 2)])
def test_one_curve_and_names_that_are_no_text_make_none(names: tuple[object, ...]) -> None:
    templates = CurveTemplates()
    assert [templates.is_repeated("loss", names) for _ in range(3)] == [False] * 3


def test_a_template_that_is_added_twice_takes_the_place_of_one() -> None:
    templates = make_templates()
    for _ in range(200_000):
        templates.add("loss", NAMES, [7, 9, 8])
    assert [templates.is_repeated("accuracy", NAMES) for _ in range(2)] == [False, True]
