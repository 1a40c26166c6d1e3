"""Curves that are logged together again and again: all their frames in one step.

A call with a dict of a hundred values appends a hundred scalars one by one the
first two times. From then on it appends them from a template.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What packs as the float64 that it is, without waiting for anything.
_PLAIN: Final = frozenset({float, int})

#: Names in all templates of a run, at most: a program may make new combinations without end.
_MAX_NAMES: Final = 400_000


class CurveTemplate(NamedTuple):
    """The series of curves in the order of their names, and what packs their values."""

    targets: NDArray[np.uint64]
    pack: Callable[..., bytes]


class CurveTemplates:
    """The templates of one run, by tag and names. Any thread may call."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, tuple[object, ...]], CurveTemplate] = {}
        self._names = 0
        self._last: dict[str, tuple[object, ...]] = {}
        self._lock = threading.RLock()  # a signal handler may log, too

    def find(
        self, tag: str, values: Mapping[str, object]
    ) -> tuple[NDArray[np.uint64], NDArray[np.float64]] | None:
        """The series of these names and the values, both of shape ``[n]``.

        None if there is no template, or if any value is not a plain number.
        """
        found = self._templates.get((tag, tuple(values)))
        if found is None or not _PLAIN.issuperset(map(type, values.values())):
            return None
        try:
            return found.targets, np.frombuffer(found.pack(*values.values()), "<f8")
        except (struct.error, OverflowError):
            return None  # the checks will name it

    def is_repeated(self, tag: str, names: tuple[object, ...]) -> bool:
        """Whether the last call with this tag had these names, in this order, too."""
        if len(names) < 2 or self._names + len(names) > _MAX_NAMES:
            return False
        if (tag, names) in self._templates:
            return False
        last = self._last.get(tag)
        self._last[tag] = names
        return last == names and all(type(name) is str for name in names)

    def add(self, tag: str, names: tuple[object, ...], series: Sequence[int]) -> None:
        """Keeps a template: the series of each name."""
        pack = struct.Struct(f"<{len(names)}d").pack
        template = CurveTemplate(np.array(series, np.uint64), pack)
        with self._lock:
            # Several threads may find at the same time that the names are repeated.
            if (tag, names) not in self._templates:
                self._names += len(names)
            self._templates[tag, names] = template
