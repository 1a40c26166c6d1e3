"""Curves that are logged together again and again: one record for all of them.

A call with a dict of a hundred values costs a hundred records the first two
times. From then on its names are known as a set, and a call packs the values
into one frame.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

#: What packs as the float64 that it is, without waiting for anything.
_PLAIN: Final = frozenset({float, int})

#: Different combinations of names that are kept.
_MAX_SETS: Final = 4096


class CurveSet(NamedTuple):
    """A set that was defined in the session, and what packs its values."""

    number: int
    records: int
    pack: Callable[..., bytes]


class CurveSets:
    """The sets of one run, by tag and names. Any thread may call."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, tuple[object, ...]], CurveSet] = {}
        self._last: dict[str, tuple[object, ...]] = {}

    def find(self, tag: str, values: Mapping[str, object]) -> tuple[CurveSet, bytes] | None:
        """The set of these names and the packed values; None where it takes more than that."""
        found = self._sets.get((tag, tuple(values)))
        if found is None or not _PLAIN.issuperset(map(type, values.values())):
            return None
        try:
            return found, found.pack(*values.values())
        except (struct.error, OverflowError):
            return None  # the checks will name it

    def is_repeated(self, tag: str, names: tuple[object, ...]) -> bool:
        """Whether the last call with this tag had these names, in this order, too."""
        if len(names) < 2 or len(self._sets) >= _MAX_SETS or (tag, names) in self._sets:
            return False
        last = self._last.get(tag)
        self._last[tag] = names
        return last == names and all(type(name) is str for name in names)

    def add(self, tag: str, names: tuple[object, ...], number: int) -> None:
        """Keeps the set of that number."""
        pack = struct.Struct(f"<{len(names)}d").pack
        self._sets[tag, names] = CurveSet(number, len(names), pack)
