"""The form in which hyperparameters are shown."""

from __future__ import annotations

import datetime
import enum
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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


@dataclass
class Settings:
    rate: float
    betas: tuple[float, ...]


class Raising(PurePosixPath):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise KeyError("broken")

    def __fspath__(self) -> str:
        raise KeyError("broken")

    def __hash__(self) -> int:
        return id(self)


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
    with pytest.raises(ValueError, match=r"hparam_dict\['names/own'\] contains itself"):
        shown({"names": names})
    everything = Namespace()
    everything.own = everything
    with pytest.raises(ValueError, match=r"hparam_dict\['own'\] contains itself"):
        hparams.values(everything)


def test_a_dict_has_a_greatest_depth() -> None:
    nested: dict[str, Any] = {"end": 1}
    for _ in range(15):
        nested = {"in": nested}
    assert list(shown(nested)) == ["in/" * 15 + "end"]
    with pytest.raises(ValueError, match="more than 16 deep"):
        shown({"one": {"more": nested}})


def test_a_namespace_and_a_dataclass_are_dicts() -> None:
    arguments = Namespace(
        model={"head": Namespace(width=4)}, adam=Settings(0.1, (0.9, 0.99)), all=[Settings(1, ())]
    )
    found = hparams.values(arguments)
    assert {name: hparams.plain(value) for name, value in found.items()} == {
        "model/head/width": 4,
        "adam/rate": 0.1,
        "adam/betas": "[0.9, 0.99]",
        "all": "[{rate: 1, betas: []}]",
    }
    with pytest.raises(TypeError, match="hparam_dict is a type, expected a dict"):
        hparams.values(Settings)


@pytest.mark.parametrize("place", ["value", "name", "set", "domain"])
def test_an_error_of_the_value_itself_is_told_as_one_of_its_own(place: str) -> None:
    bad = {
        "value": {"x": Raising("a")},
        "name": {"x": {Raising("a"): 1}},
        "set": {"x": {Raising("a"), Raising("b")}},
        "domain": {"x": [Raising("a")]},
    }[place]
    with pytest.raises(ValueError, match=r"(Raising|set) that raises KeyError"):
        hparams.domains(bad) if place == "domain" else hparams.values(bad)


def test_what_is_refused_is_told_and_the_rest_stays() -> None:
    told: dict[str, str] = {}
    own: dict[str, Any] = {"b": 1, "c": object()}
    own["own"] = own
    mixed = {"a": 10**5000, "rate": 0.1, "own": own, "text": Raising("a"), "odd": {"": 1, "d": 2}}
    found = hparams.values(mixed, lambda name, error: told.setdefault(name, str(error)))
    assert list(found) == ["rate", "own/b", "odd/d"]
    assert list(told) == ["a", "own/c", "own/own", "text", "odd"]
    assert told["a"] == "hparam_dict['a'] is a number beyond the range of float64"


def test_a_long_list_is_shortened() -> None:
    text = shown({"ids": list(range(10_000))})["ids"]
    assert len(text) == 1024
    assert text.endswith("...")


class Training:
    def __repr__(self) -> str:
        return "Training(\n  warm_up=3)"


def test_what_has_a_text_of_its_own_is_shown_by_it() -> None:
    given = {
        "dtype": np.dtype("float16"),
        "day": datetime.date(2026, 11, 28),
        "schedule": Training(),
        "all": [np.dtype("int8")],
    }
    assert shown(given) == {
        "dtype": "float16",
        "day": "2026-11-28",
        "schedule": "Training( warm_up=3)",
        "all": "[int8]",
    }
    with pytest.raises(TypeError, match="is a bytes"):
        shown({"x": b"raw"})


def test_devices_and_dtypes_of_torch_are_shown_by_their_names() -> None:
    torch = pytest.importorskip("torch")
    given = {"device": torch.device("cpu"), "dtype": torch.bfloat16, "net": torch.nn.Identity()}
    assert shown(given) == {"device": "cpu", "dtype": "torch.bfloat16", "net": "Identity()"}


def test_what_has_no_readable_form_is_told_by_its_name() -> None:
    with pytest.raises(TypeError, match=r"hparam_dict\['model/x'\] is a object"):
        shown({"model": {"x": object()}})
    with pytest.raises(TypeError, match="expected a bool, a number, a str"):
        shown({"all": [object()]})
