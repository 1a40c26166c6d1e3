"""The form in which hyperparameters are shown."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client.calls import hparams


class Optimizer(enum.Enum):
    ADAM = 1


class Rank(enum.IntEnum):
    FIRST = 1


class Schedule(str, enum.Enum):
    LINEAR = "linear"


def shown(hparam_dict: dict[str, Any]) -> dict[str, Any]:
    found = hparams.values(hparam_dict)
    return {name: getattr(value, value.WhichOneof("value")) for name, value in found.items()}


def test_what_configurations_hold_is_shown_readably() -> None:
    assert shown(
        {
            "lr": 0.1,
            "layers": [64, 32],
            "mixed": (1, 0.5, "a", None, True, [Path("x"), Optimizer.ADAM]),
            "set": {"b", "a"},
            "empty": [],
            "nothing": {},
            "array": np.arange(3),
            "one": np.array([2.5]),
            "path": Path("data/train"),
            "odd path": Path("a\udcff"),
            "enum": Optimizer.ADAM,
            "int enum": Rank.FIRST,
            "str enum": Schedule.LINEAR,
            "none": None,
            "function": len,
        }
    ) == {
        "lr": 0.1,
        "layers": "[64, 32]",
        "mixed": "[1, 0.5, a, None, True, [x, ADAM]]",
        "set": "[a, b]",
        "empty": "[]",
        "nothing": "{}",
        "array": "[0, 1, 2]",
        "one": 2.5,
        "path": "data/train",
        "odd path": "a\ufffd",
        "enum": "ADAM",
        "int enum": "FIRST",
        "str enum": "linear",
        "function": "len",
    }


def test_a_dict_is_flattened() -> None:
    nested = {"optimizer": {"name": "adam", "betas": [0.9, 0.99], "none": None, 1: {"deep": True}}}
    assert shown({"lr": 1, **nested}) == {
        "lr": 1.0,
        "optimizer/name": "adam",
        "optimizer/betas": "[0.9, 0.99]",
        "optimizer/1/deep": True,
    }


def test_names_that_become_the_same_are_told() -> None:
    with pytest.raises(ValueError, match="has 'a/b' twice"):
        shown({"a/b": 1, "a": {"b": 2}})


def test_what_holds_itself_is_told() -> None:
    items: list[Any] = []
    items.append(items)
    with pytest.raises(ValueError, match="more than 16 deep"):
        shown({"items": items})
    names: dict[str, Any] = {}
    names["own"] = names
    with pytest.raises(ValueError, match="more than 16 deep"):
        shown({"names": names})


def test_a_long_list_is_shortened() -> None:
    text = shown({"ids": list(range(10_000))})["ids"]
    assert len(text) == 1024
    assert text.endswith("...")


def test_what_has_no_readable_form_is_told_by_its_name() -> None:
    with pytest.raises(TypeError, match=r"hparam_dict\['model/x'\] is a object"):
        shown({"model": {"x": object()}})
    with pytest.raises(TypeError, match="expected a bool, a number, a str"):
        shown({"all": [object()]})
