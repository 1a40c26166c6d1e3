"""Hyperparameters as training libraries hold them, made into what ``add_hparams`` takes."""

from __future__ import annotations

import dataclasses
import numbers
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import Any

import numpy as np


def readable(hyperparameters: Any) -> dict[str, bool | float | str]:
    """Returns names and values, of nested ones as ``outer/inner``.

    Numbers, bool and str stay as they are. An enum counts as its value, a path and a
    callable as its name, a sequence as the text of a list, anything else as its ``str``.
    None is left out.

    Args:
        hyperparameters: a mapping, a ``Namespace`` or a dataclass, which may hold others.

    Raises:
        TypeError: something else.
    """
    nested = _nested(hyperparameters)
    if nested is None:
        kind = type(hyperparameters).__name__
        raise TypeError(f"hyperparameters is a {kind}, expected a dict")
    return dict(_flat(nested, ""))


def _flat(nested: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, bool | float | str]]:
    for name, value in nested.items():
        full = f"{prefix}{_element(name)}"
        inner = _nested(value)
        if inner is not None:
            yield from _flat(inner, f"{full}/")
        elif value is not None:
            yield full, _plain(value)


def _nested(value: Any) -> Mapping[Any, Any] | None:
    """What has hyperparameters of its own."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Namespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _plain(value: Any) -> bool | float | str:
    if isinstance(value, Enum):  # before str and int, which enums may be too
        return _plain(value.value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Set):
        return str(sorted(map(_element, value), key=str))
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return str([_element(element) for element in value])
    name = getattr(value, "__name__", None) if callable(value) else None
    return str(value) if name is None else str(name)


def _element(value: Any) -> Any:
    """An element of a sequence; whole numbers stay without a decimal point."""
    return value if isinstance(value, int) and not isinstance(value, Enum) else _plain(value)
