"""Checks of what users pass, made at the call and without waiting for any data.

Every function returns the checked value or raises ``TypeError`` or
``ValueError`` with the value and what was expected.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, SupportsIndex

import numpy as np
from boardd_protos import remote_logdir, tags
from boardd_protos.limits import (
    DEFAULT_BINS,
    MAX_BINS,
    MAX_TIMEOUT_SECS,
    MAX_UINT32,
    NUMPY_BIN_RULES,
)
from boardd_protos.suffixes import suffix_obstacle
from boardd_protos.tags import MAX_NAME_BYTES, MAX_TAG_BYTES
from numpy.typing import NDArray

from boardd_client import capture

#: Names of bins.
BIN_RULES: Final = (DEFAULT_BINS, *NUMPY_BIN_RULES)
ON_FULL: Final = ("drop", "block")
LEVELS: Final = ("written", "synced")


def tag(value: object) -> str:
    """Checks a tag: 1 to 1024 UTF-8 bytes, not of slashes alone."""
    return _checked_tag(string(value, "tag"))


@lru_cache(maxsize=4096)
def _checked_tag(text: str) -> str:
    if not text.lstrip("/"):
        raise ValueError(f"tag {text!r} is empty; expected a name such as 'loss' or 'train/loss'")
    # Cleaned it may be shorter, but it travels as it is.
    size_bytes = len(text.encode())
    if size_bytes > MAX_TAG_BYTES:
        raise ValueError(
            f"tag {text[:40]!r}... has {size_bytes} bytes of UTF-8, "
            f"expected at most {MAX_TAG_BYTES}"
        )
    return text


def sub_run(tag: str, name: object) -> str:
    """Returns the sub-run of curve ``name`` in the plot ``tag``: ``tag/name``."""
    text = string(name, "name of a value")
    if not text:
        raise ValueError(f"tag {tag!r}: the name of a value is empty")
    return _relative_path(f"{tag}/{text}".lstrip("/"), f"tag {tag!r}, name {text!r}")


def step(value: object) -> int:
    """Returns a step as MXBoard writes it: None is 0, fractions are cut off."""
    result = int(given_step(value) or 0)
    if not -(1 << 63) <= result < 1 << 63:
        raise ValueError(f"global_step {result} is outside int64")
    return result


def given_step(value: object) -> int | float | None:
    """Returns a step as it was given, as one of Python's own numbers or None."""
    if type(value) is int or value is None:
        return value
    if isinstance(value, SupportsIndex) and isinstance(value, (numbers.Integral, np.integer)):
        return operator.index(value)
    if isinstance(value, np.ndarray) or capture.is_of_framework(type(value)):
        return given_step(plain(value, "global_step"))
    return number(value, "global_step")


def plain(value: Any, what: str) -> Any:
    """Returns the one element of an array of NumPy or a framework, once it is computed.

    For what the program counts or knows itself, such as a step. Raises ``ValueError`` for
    other than one element.
    """
    # The names that frameworks have for it, MXNet's last.
    read = getattr(value, "item", None) or getattr(value, "asscalar", None)
    try:
        return float(value) if read is None else read()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is a {kind(value)}, expected one element: {error}") from None


def wall_time(value: object) -> float | None:
    """Checks a time in seconds since the epoch; None is none."""
    return None if value is None else number(value, "walltime")


def purge_step(value: object) -> int | None:
    """Checks the first step that is out of date, an int64; None is none."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Integral, np.integer)):
        raise TypeError(f"purge_step is {value!r}, expected an int")
    if not -(1 << 63) <= int(value) < 1 << 63:
        raise ValueError(f"purge_step {value} is outside int64")
    return int(value)


@dataclass(frozen=True)
class Bins:
    """Checked bins: exactly one of a count, edges, or a rule's name."""

    count: int = 0
    edges: tuple[float, ...] = ()
    rule: str = ""


def bins(value: object) -> Bins:
    """Checks bins: a count, ascending finite edges, or a rule's name."""
    if type(value) is int:  # by far the most frequent
        return _count_of_bins(value)
    if isinstance(value, str):
        if value == "tensorflow":  # tensorboardX's name of it
            return Bins(rule=DEFAULT_BINS)
        if value not in BIN_RULES:
            raise ValueError(f"bins {value!r} is none of {', '.join(BIN_RULES)}")
        return Bins(rule=value)
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"bins {value!r} is a bool, expected an int, edges or a name")
    if isinstance(value, (numbers.Integral, np.integer)):
        return _count_of_bins(int(value))
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
        return bins(int(value))
    if not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"bins is a {kind(value)}, expected an int, edges (list, array) or a name")
    return Bins(edges=tuple(_edges(value).tolist()))


@lru_cache(maxsize=64)
def _count_of_bins(count: int) -> Bins:
    if not 1 <= count <= MAX_BINS:
        raise ValueError(f"bins {count} is out of range, expected 1 to {MAX_BINS}")
    return Bins(count=count)


def _edges(value: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
    try:
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
            raise TypeError
        edges = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"bins is a {kind(value)} of other than real numbers") from None
    if edges.ndim != 1:
        raise ValueError(f"bins has shape {edges.shape}, expected edges in one dimension")
    if not 2 <= len(edges) <= MAX_BINS + 1:
        raise ValueError(f"bins has {len(edges)} edges, expected 2 to {MAX_BINS + 1}")
    if not np.isfinite(edges).all():
        index = int(np.flatnonzero(~np.isfinite(edges))[0])
        raise ValueError(f"bins has the edge {edges[index]} at {index}, expected finite edges")
    if (edges[1:] < edges[:-1]).any():
        index = int(np.flatnonzero(edges[1:] < edges[:-1])[0])
        raise ValueError(
            f"bins must not descend, got {edges[index]} before {edges[index + 1]} at {index}"
        )
    return edges


def folder(value: object) -> str:
    """Checks a tag that becomes a directory beneath the run's: a relative path."""
    text = tag(value)
    _relative_path(text.lstrip("/"), f"tag {text!r}")
    return text


def logdir(value: object) -> str:
    """Checks a log directory: a ``str`` or a path of one, not empty, or a URL as ``s3://b/runs``."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"logdir is a {kind(value)}, expected a str or a path")
    text = string(os.fspath(value), "logdir")
    if not text or "\0" in text:
        raise ValueError(f"logdir {text!r} is no directory's name")
    return remote_logdir.checked(text)


def run(value: object) -> str:
    """Checks the name of a run: a relative path beneath the log directory, or None."""
    if value is None:
        return ""
    text = string(value, "run")
    if not text or text.startswith("/"):
        raise ValueError(f"run {text!r}: expected a relative path such as 'baseline'")
    return _relative_path(text, f"run {text!r}")


def filename_suffix(value: object) -> str:
    """Checks a suffix of file names; None is none."""
    if value is None:
        return ""
    text = string(value, "filename_suffix")
    obstacle = suffix_obstacle(text)
    if obstacle:
        raise ValueError(obstacle)
    return text


def count(value: object, what: str) -> int:
    """Checks a whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Integral, np.integer)):
        raise TypeError(f"{what} is {value!r}, expected an int")
    if int(value) < 0:
        raise ValueError(f"{what} is {value!r}, expected 0 or more")
    return int(value)


def secs(value: object, what: str) -> float:
    """Checks a duration: a finite number of seconds, 0 or more."""
    result = number(value, what)
    if result < 0:
        raise ValueError(f"{what} is {value!r}, expected seconds, 0 or more")
    return result


def timeout(value: object) -> float:
    """Checks a timeout as ``secs`` does; one past ``MAX_TIMEOUT_SECS`` becomes that."""
    if isinstance(value, int) and value > MAX_TIMEOUT_SECS:  # a float may not hold it
        return MAX_TIMEOUT_SECS
    return min(secs(value, "timeout"), MAX_TIMEOUT_SECS)


def choice(value: object, what: str, choices: tuple[str, ...]) -> str:
    """Checks that a value is one of ``choices``."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is a {kind(value)}, expected one of {', '.join(choices)}")
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, expected one of {', '.join(choices)}")
    return value


def sync(value: object) -> tuple[float, bool]:
    """Checks when a run is made durable; returns the seconds, 0 if not by time, and if by flush.

    ``value`` is None, ``"never"``, ``"flush"`` or a number of seconds above 0.
    """
    if value is None or isinstance(value, str):
        if value not in (None, "never", "flush"):
            raise ValueError(f"sync is {value!r}, expected 'never', 'flush' or seconds")
        return 0.0, value == "flush"
    result = secs(value, "sync")
    if result == 0:
        raise ValueError("sync is 0, expected 'never', 'flush' or seconds above 0")
    return result, False


def system_metrics(value: object) -> bool | float:
    """Checks whether the system is measured, or how often: a bool, or 1 second or more."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    result = secs(value, "system_metrics")
    if result < 1:
        raise ValueError(
            f"system_metrics is {value!r}, expected True, False or a number of seconds, 1 or more"
        )
    return result


def integer(value: object, what: str, least: int, most: int | None) -> int:
    """Checks a whole number from ``least`` to ``most``; None is what 32 bits hold."""
    limit = MAX_UINT32 if most is None else most
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Integral, np.integer)):
        raise TypeError(f"{what} is {value!r}, expected an int")
    if not least <= int(value) <= limit:
        wanted = (
            f"{least} or more" if most is None and int(value) < least else f"{least} to {limit}"
        )
        raise ValueError(f"{what} is {value!r}, expected {wanted}")
    return int(value)


def interval(value: object, what: str) -> tuple[float, float]:
    """Checks two finite numbers, the lower first."""
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{what} is {value!r}, expected two numbers")
    low, high = number(value[0], f"{what}[0]"), number(value[1], f"{what}[1]")
    if low >= high:
        raise ValueError(f"{what} is {value!r}, expected the lower number first")
    return low, high


def strings(value: object, what: str) -> tuple[str, ...]:
    """Checks a list of texts."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"{what} is a {kind(value)}, expected a list of str")
    return tuple(string(item, f"{what}[{index}]") for index, item in enumerate(value))


def number(value: object, what: str) -> float:
    """Checks a finite real number."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf":
        value = value[()]
    if not isinstance(value, (numbers.Real, np.bool_)):
        raise TypeError(f"{what} is a {kind(value)}, expected a number")
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{what} is {value!r}, expected a finite number") from None
    if not math.isfinite(result):
        raise ValueError(f"{what} is {result}, expected a finite number")
    return result


def string(value: object, what: str) -> str:
    """Checks a text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is a {kind(value)}, expected a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {value!r} cannot be encoded as UTF-8") from None
    return str(value)


def _relative_path(text: str, what: str) -> str:
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character")
    parts = tags.segments(text)
    if not parts or ".." in parts:
        raise ValueError(f"{what} leads out of its directory; '..' is not allowed")
    for part in parts:
        if len(part.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"{what}: {part[:40]!r}... has more than {MAX_NAME_BYTES} bytes")
    return posixpath.join(*parts)


def kind(value: object) -> str:
    """Names the type of a value, for messages."""
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"
