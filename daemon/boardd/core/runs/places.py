"""The directories of one session's runs, by the index that its series name them by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boardd.core.refusals import Refusal
from boardd.core.runs.own_run import OwnRun
from boardd.core.runs.run_state import RunState


class Purge(NamedTuple):
    """What a run holds from ``step`` on is out of date for writers of ``epoch`` and later."""

    epoch: int
    step: int


@dataclass(slots=True)
class Place:
    """A directory of one of the session's runs: the run's own, or a sub-run's.

    If the run is merged, ``run`` is the group's journal, and ``own`` what the rank keeps.
    """

    number: int
    run: RunState | None
    refused: Refusal | None
    #: What is to be done once, before the first record.
    purge: Purge | None = None
    #: Whether there is anything to be purged, so that this is done before the first record of
    #: any directory of the run.
    is_old: bool = False
    own: OwnRun | None = None

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be written here, if so."""
        return self.run.refusal if self.run is not None else self.refused

    @property
    def runs(self) -> list[RunState]:
        """The run, if there is one, and the rank's own behind it."""
        own = self.own.run if self.own is not None else None
        return [run for run in (self.run, own) if run is not None]

    @property
    def drops_run(self) -> RunState | None:
        """The run that is to tell of what its client dropped: the rank's own if it has one."""
        if self.own is not None and self.own.open_run is not None:
            return self.own.open_run
        return self.run


class Places:
    """The places of one session, by their index."""

    def __init__(self) -> None:
        self._places: list[Place | None] = []
        self._free: list[int] = []
        #: By run and rank: the ranks of a merged run are told apart, even in one process.
        self._first_of_run: dict[tuple[RunState, int], int] = {}
        self._first = np.zeros(0, np.intp)
        self._unpurged: set[int] = set()

    def __getitem__(self, index: int) -> Place:
        """Raises ``KeyError`` if there is none."""
        place = self._places[index]
        if place is None:
            raise KeyError(index)
        return place

    @property
    def first(self) -> NDArray[np.intp]:
        """For each place, the first one of the same run and rank, intp[n]."""
        known = len(self._first)
        if known < len(self._places):
            new = [
                index
                if place is None or place.run is None
                else self._first_of_run.setdefault((place.run, _rank(place)), index)
                for index, place in enumerate(self._places[known:], known)
            ]
            self._first = np.append(self._first, new).astype(np.intp)
        return self._first

    def add(self, place: Place) -> int:
        """Adds a place; returns its index."""
        if self._free:
            index = self._free.pop()
            self._places[index] = place
            self._look_anew()
        else:
            index = len(self._places)
            self._places.append(place)
        if place.purge is not None:
            self._unpurged.add(index)
        return index

    def remove(self, indexes: Iterable[int]) -> None:
        """Forgets places; others will get their indexes."""
        for index in indexes:
            self._places[index] = None
            self._unpurged.discard(index)
            self._free.append(index)
        self._look_anew()

    def _look_anew(self) -> None:
        self._first_of_run.clear()
        self._first = np.zeros(0, np.intp)

    @property
    def has_unpurged(self) -> bool:
        """Whether any is still to be purged."""
        return bool(self._unpurged)

    def first_to_purge(self, place: NDArray[np.intp], reason: NDArray[np.intp]) -> int | None:
        """The first of n records whose place is to be purged before it.

        ``place`` and ``reason`` have shape ``[n]`` and are as ``Schema.find`` returns them.
        """
        found = np.isin(place, list(self._unpurged)) & (reason == 0)
        return int(found.argmax()) if found.any() else None

    def take_purges(self, index: int) -> list[tuple[Place, Purge]]:
        """Returns what is to be purged before a record at a place, each once."""
        if not self._unpurged:
            return []
        number = self[index].number
        due = [index] if index in self._unpurged else []
        due += [
            other
            for other in sorted(self._unpurged)
            if other != index and self[other].is_old and self[other].number == number
        ]
        self._unpurged.difference_update(due)
        places = [self[one] for one in due]
        return [(place, place.purge) for place in places if place.purge is not None]


def _rank(place: Place) -> int:
    return -1 if place.own is None else place.own.rank
