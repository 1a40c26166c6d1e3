"""Checks of hyperparameters, and the form in which they are shown."""

from __future__ import annotations

import enum
import hashlib
import numbers
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb

from boardd_client import capture
from boardd_client.calls import arguments

#: Dicts and lists within each other, and characters of a list that is shown.
_MAX_DEPTH: Final = 16
_MAX_TEXT: Final = 1024


def values(hparam_dict: object) -> dict[str, pb.HParamValue]:
    """Returns the hyperparameters that have a value, None left out.

    Those of a dict within it are ``<name>/<name there>``.

    Raises ``TypeError`` for what has no readable form, and ``ValueError`` for names that become
    the same, and for dicts and lists more than 16 deep.
    """
    if not isinstance(hparam_dict, Mapping):
        raise TypeError(f"hparam_dict is a {arguments.kind(hparam_dict)}, expected a dict")
    found: dict[str, pb.HParamValue] = {}
    for name, value in hparam_dict.items():
        for full_name, one in _flat(_name(name), value, _MAX_DEPTH):
            if full_name in found:
                raise ValueError(f"hparam_dict has {full_name!r} twice, once within a dict")
            found[full_name] = _value(one, f"hparam_dict[{full_name!r}]")
    return found


def _flat(name: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    """Yields what is not None of ``value``, each with its full name."""
    if not isinstance(value, Mapping) or not value:
        if value is not None:
            yield name, value
        return
    if not depth:
        raise ValueError(f"hparam_dict[{name!r}] is a dict more than {_MAX_DEPTH} deep")
    for key, one in value.items():
        yield from _flat(f"{name}/{_name(str(_text(key, name, 1)))}", one, depth - 1)


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
    if isinstance(value, enum.Enum):
        value = value.value if isinstance(value, str) else value.name
    if isinstance(value, str):
        return pb.HParamValue(text=arguments.string(value, what))
    if isinstance(value, (bool, np.bool_)):
        return pb.HParamValue(flag=bool(value))
    if isinstance(value, numbers.Real):
        try:
            return pb.HParamValue(number=float(value))  # NaN and infinity may be
        except OverflowError:
            raise ValueError(f"{what} is {value!r}, beyond float64") from None
    if isinstance(value, (os.PathLike, Mapping)) or _items(value) is not None:
        return pb.HParamValue(text=_shortened(_text(value, what, _MAX_DEPTH)))
    if isinstance(value, np.ndarray) or capture.is_of_framework(type(value)):
        return _value(arguments.plain(value, what), what)
    if callable(value):
        return pb.HParamValue(text=str(getattr(value, "__name__", value)))
    raise TypeError(
        f"{what} is a {arguments.kind(value)}, expected a bool, a number, a str, a list, a dict, "
        "an enum or a path"
    )


def _items(value: object) -> list[Any] | None:
    """What is to be shown in a row, sorted if it has no order; None if it is one thing."""
    if isinstance(value, np.ndarray):
        return None if value.size == 1 else list(value)
    if isinstance(value, Set):
        return sorted(value, key=str)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return list(value)
    return None


def _text(value: object, what: str, depth: int) -> str:
    """``value`` as people read it."""
    if value is None:
        return "None"
    if not depth:
        raise ValueError(f"{what} has lists or dicts more than {_MAX_DEPTH} deep")
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        data = path if isinstance(path, bytes) else path.encode(errors="surrogateescape")
        return data.decode(errors="replace")
    if isinstance(value, Mapping):
        pairs = (
            f"{_text(key, what, depth - 1)}: {_text(one, what, depth - 1)}"
            for key, one in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    items = _items(value)
    if items is not None:
        return "[" + ", ".join(_text(item, what, depth - 1) for item in items) + "]"
    message = _value(value, what)
    kind = message.WhichOneof("value")
    if kind == "number" and isinstance(value, numbers.Integral):
        return str(int(value))
    return str(getattr(message, kind or "text"))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
