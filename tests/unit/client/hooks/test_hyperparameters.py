"""Hyperparameters of every form that training libraries hold become numbers and texts."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from boardd_client.hooks.hyperparameters import readable


class Strategy(str, Enum):
    STEPS = "steps"


class Order(Enum):
    FIRST = 1


@dataclass
class Optimizer:
    rate: float
    betas: tuple[float, float]


def test_plain_values_stay() -> None:
    values = {"rate": 0.1, "layers": 3, "name": "adam", "augment": True}
    assert readable(values) == values
    assert list(readable({"z": 1, "a": 2})) == ["z", "a"]


def test_every_other_form_is_readable() -> None:
    values = {
        "sizes": [5, 1.5, None, Path("a")],
        "words": {"b", "a"},
        "strategy": Strategy.STEPS,
        "order": Order.FIRST,
        "directory": Path("data/train"),
        "numpy": np.float32(0.5),
        "flag": np.bool_(True),
        "loss": np.mean,
        "kind": dict,
        "bytes": b"x",
        "nothing": None,
    }
    found = readable(values)
    assert found == {
        "sizes": "[5, 1.5, 'None', 'a']",
        "words": "['a', 'b']",
        "strategy": "steps",
        "order": 1,
        "directory": "data/train",
        "numpy": 0.5,
        "flag": True,
        "loss": "mean",
        "kind": "dict",
        "bytes": "b'x'",
    }
    assert type(found["strategy"]) is str
    assert type(found["flag"]) is bool


def test_nested_ones_have_the_names_of_both() -> None:
    values = Namespace(
        model={"depth": 2, "head": Namespace(width=4)}, optimizer=Optimizer(0.1, (0.9, 0.99)), n={}
    )
    assert readable(values) == {
        "model/depth": 2,
        "model/head/width": 4,
        "optimizer/rate": 0.1,
        "optimizer/betas": "[0.9, 0.99]",
    }
    assert readable({1: {2: 3}}) == {"1/2": 3}


@pytest.mark.parametrize("other", [None, "rate=0.1", [("rate", 0.1)], Optimizer])
def test_something_else_is_refused(other: object) -> None:
    with pytest.raises(TypeError, match=r"expected a dict"):
        readable(other)
