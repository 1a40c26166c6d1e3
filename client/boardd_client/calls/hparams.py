"""Checks of hyperparameters, and the form in which they are shown."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import numbers
import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb

from boardd_client import capture
from boardd_client.calls import arguments

#: Dicts and lists within each other, and characters of a list that is shown.
_MAX_DEPTH: Final = 16
_MAX_TEXT: Final = 1024


def values(
    hyperparameters: object, refuse: Callable[[str, Exception], None] | None = None
) -> dict[str, pb.HParamValue]:
    """Returns the hyperparameters that have a value, None left out.

    Those of a dict within it are ``<name>/<name there>``. A ``Namespace`` and a dataclass count
    as dicts.

    Args:
        hyperparameters: names and values.
        refuse: told of each that is left out; None raises the first of these errors.

    Raises:
        TypeError: for something else than a dict, and for what has no readable form.
        ValueError: for names that become the same, and for dicts and lists that contain
            themselves or are more than 16 deep.
    """
    try:
        entries = _entries(hyperparameters)
    except Exception as error:
        raise _clear(error, hyperparameters, "hparam_dict") from error
    if entries is None:
        raise TypeError(f"hparam_dict is a {arguments.kind(hyperparameters)}, expected a dict")
    found: dict[str, pb.HParamValue] = {}
    for key, value in entries:
        try:
            name = _name(key)
        except (TypeError, ValueError) as error:
            if refuse is None:
                raise
            refuse("a hyperparameter", error)
        else:
            _add(found, name, value, (hyperparameters,), refuse or _raise)
    return found


def plain(value: pb.HParamValue) -> bool | float | str:
    """Returns what a checked hyperparameter holds."""
    found: bool | float | str = getattr(value, value.WhichOneof("value") or "text")
    return found


def _add(
    found: dict[str, pb.HParamValue],
    name: str,
    value: object,
    outer: tuple[object, ...],
    refuse: Callable[[str, Exception], None],
) -> None:
    """Adds ``value``, or what it consists of, under full names; ``outer`` is what it lies in."""
    what = f"hparam_dict[{name!r}]"
    try:
        entries = _entries(value) or []
        if entries:
            if any(value is each for each in outer):
                raise ValueError(f"{what} contains itself")
            if len(outer) > _MAX_DEPTH:
                raise ValueError(f"{what} is a dict more than {_MAX_DEPTH} deep")
        elif value is not None:
            if name in found:
                raise ValueError(f"hparam_dict has {name!r} twice, once within a dict")
            found[name] = _value(value, what)
    except Exception as error:  # what the value's own methods raise
        refuse(name, _clear(error, value, what))
        return
    for key, one in entries:
        try:
            full_name = f"{name}/{_name(_text(key, what, 1))}"
        except Exception as error:
            refuse(name, _clear(error, key, f"a name in {what}"))
        else:
            _add(found, full_name, one, (*outer, value), refuse)


def _entries(value: object) -> list[tuple[Any, Any]] | None:
    """Names and values of what has some."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Namespace):
        return list(vars(value).items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def _clear(error: Exception, value: object, what: str) -> Exception:
    """``error``, or what to tell instead if it came from the value itself."""
    if isinstance(error, (TypeError, ValueError)):
        return error
    return ValueError(f"{what} is a {arguments.kind(value)} that raises {type(error).__name__}")


def _raise(_name: str, error: Exception) -> None:
    try:
        raise error
    finally:
        del error  # its traceback names this frame, and those of the caller's arrays


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
    try:
        return _checked(value, what)
    except Exception as error:  # what the value's own methods raise
        raise _clear(error, value, what) from error


def _checked(value: object, what: str) -> pb.HParamValue:
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
            raise ValueError(f"{what} is a number beyond the range of float64") from None
    if isinstance(value, os.PathLike) or _has_parts(value):
        return pb.HParamValue(text=_shortened(_text(value, what, _MAX_DEPTH)))
    if _is_array(value):
        return _value(arguments.plain(value, what), what)
    if callable(value) and hasattr(value, "__name__"):
        return pb.HParamValue(text=str(value.__name__))
    if _says_what_it_is(type(value)):
        return pb.HParamValue(text=_shortened(" ".join(str(value).split())))
    raise TypeError(
        f"{what} is a {arguments.kind(value)}, expected a bool, a number, a str, a list, a dict, "
        "an enum, a path or what has a text of its own"
    )


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or (
        capture.is_of_framework(type(value)) and hasattr(value, "shape")
    )


def _says_what_it_is(kind: type) -> bool:
    """Whether ``str`` gives more than the class and an address: of a device, a dtype, a date."""
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return False
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def _has_parts(value: object) -> bool:
    return _entries(value) is not None or _items(value) is not None


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
    entries = _entries(value)
    if entries is not None:
        pairs = (
            f"{_text(key, what, depth - 1)}: {_text(one, what, depth - 1)}" for key, one in entries
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
