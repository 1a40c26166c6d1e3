"""Checks of hyperparameters."""

from __future__ import annotations

import hashlib
import numbers
from collections.abc import Mapping, Sequence

import numpy as np
from boardd_protos import boardd_pb2 as pb

from boardd_client import capture
from boardd_client.calls import arguments


def values(hparam_dict: object) -> dict[str, pb.HParamValue]:
    """Returns the hyperparameters that have a value, None left out.

    Raises ``TypeError`` for other than bool, numbers, str and callables.
    """
    if not isinstance(hparam_dict, Mapping):
        raise TypeError(f"hparam_dict is a {arguments.kind(hparam_dict)}, expected a dict")
    return {
        _name(name): _value(value, f"hparam_dict[{name!r}]")
        for name, value in hparam_dict.items()
        if value is not None
    }


def digest(values: Mapping[str, pb.HParamValue]) -> str:
    """Returns a name for hyperparameters, the same in every process that has the same."""
    message = pb.HParams(hparams=values).SerializeToString(deterministic=True)
    return f"hparams_{hashlib.sha256(message).hexdigest()[:12]}"


def domains(value: object) -> list[pb.HParamDomain]:
    """Returns the values that hyperparameters may have.

    Raises ``TypeError`` for what is no dict of lists, and ``ValueError`` for an empty list
    and for values of several types.
    """
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise TypeError(f"domains is a {arguments.kind(value)}, expected a dict")
    found = []
    for name, items in value.items():
        what = f"domains[{name!r}]"
        if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):
            raise TypeError(f"{what} is a {arguments.kind(items)}, expected a list of values")
        choices = [_value(item, f"{what}[{number}]") for number, item in enumerate(items)]
        kinds = {choice.WhichOneof("value") for choice in choices}
        if len(kinds) != 1:
            raise ValueError(f"{what} is {items!r}, expected values of one type, at least one")
        found.append(pb.HParamDomain(hparam=_name(name), values=choices))
    return found


def _name(value: object) -> str:
    name = arguments.string(value, "name of a hyperparameter")
    if not name:
        raise ValueError("the name of a hyperparameter is empty")
    return name


def _value(value: object, what: str) -> pb.HParamValue:
    if isinstance(value, str):
        return pb.HParamValue(text=arguments.string(value, what))
    if isinstance(value, (bool, np.bool_)):
        return pb.HParamValue(flag=bool(value))
    if isinstance(value, numbers.Real):
        try:
            return pb.HParamValue(number=float(value))  # NaN and infinity may be
        except OverflowError:
            raise ValueError(f"{what} is {value!r}, beyond float64") from None
    if isinstance(value, np.ndarray) or capture.is_of_framework(type(value)):
        return _value(arguments.plain(value, what), what)
    if callable(value):
        return pb.HParamValue(text=str(getattr(value, "__name__", value)))
    raise TypeError(f"{what} is a {arguments.kind(value)}, expected a bool, a number or a str")
