"""Curves that come together again and again are one record."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from boardd_client.calls.curves import CurveSets

NAMES = ("a", "b", "c")


def make_sets() -> CurveSets:
    sets = CurveSets()
    sets.add("loss", NAMES, 7)
    return sets


def test_values_are_packed_in_the_order_of_the_names() -> None:
    found = make_sets().find("loss", {"a": 1.5, "b": -2, "c": float("inf")})
    assert found is not None
    assert (found[0].number, found[0].records) == (7, 3)
    assert struct.unpack("<3d", found[1]) == (1.5, -2.0, float("inf"))


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
def test_other_names_and_what_needs_a_look_are_no_set(values: dict[str, object]) -> None:
    assert make_sets().find("loss", values) is None


def test_another_tag_is_another_set() -> None:
    assert make_sets().find("accuracy", dict.fromkeys(NAMES, 1.0)) is None


def test_names_are_repeated_when_they_come_twice_in_a_row() -> None:
    sets = CurveSets()
    assert [sets.is_repeated("loss", NAMES) for _ in range(2)] == [False, True]
    assert not sets.is_repeated("loss", ("a", "b"))
    assert not sets.is_repeated("loss", NAMES)
    sets.add("loss", NAMES, 1)
    assert not sets.is_repeated("loss", NAMES)


@pytest.mark.parametrize("names", [("a",), (1, 2), ("a", 2)])
def test_one_curve_and_names_that_are_no_text_make_no_set(names: tuple[object, ...]) -> None:
    sets = CurveSets()
    assert [sets.is_repeated("loss", names) for _ in range(3)] == [False] * 3
