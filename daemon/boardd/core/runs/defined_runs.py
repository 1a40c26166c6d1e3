"""The runs and series that one session has defined, as they are looked up.

Budgets count the runs that are open, or of which anything is out: one that was ended is
forgotten once nothing of it is, and not at once, since a thread may log on while another
closes its writer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.budget import Budgets
from boardd.core.refusals import Refusal
from boardd.core.runs.left_out import LeftOut
from boardd.core.runs.places import Place, Places
from boardd.core.runs.run_paths import RunPaths
from boardd.core.runs.run_state import Member, Runs, RunState
from boardd.core.runs.series import Series, SeriesTable

#: What a tag of a run costs beside its text, and what a directory costs: objects, and places in
#: tables.
SERIES_BYTES: Final = 768
DIRECTORY_BYTES: Final = 6144
#: How often a text is kept: as the session defined it, and as the run's own.
_COPIES: Final = 2
#: Directories of ended runs that are kept.
MAX_ENDED_PLACES: Final = 128
#: Runs that are forgotten and whose definitions may come again, from a client that has not
#: heard that they have ended.
MAX_FORGOTTEN: Final = 1 << 16


@dataclass(frozen=True)
class RunRefusal:
    """A run of a session that is refused, or only its directory ``sub_run``.

    That is ``"."`` for the run's own.
    """

    run: int
    refusal: Refusal
    sub_run: str = ""


@dataclass(slots=True)
class RunDefined:
    """A run as the session defined it."""

    message: pb.RunDefinition
    member: Member
    #: From sub-directory to its place in the table of places.
    places: dict[str, int] = field(default_factory=dict)
    series: list[int] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(slots=True)
class SeriesDefined:
    """A series as the session defined it."""

    run: int
    tag: str
    sub_run: str
    refusal: Refusal | None = None


class DefinedRuns:
    """The runs and series of the session ``session_id``; see the module."""

    def __init__(self, session_id: bytes, budgets: Budgets, runs: Runs, paths: RunPaths) -> None:
        self._session_id = session_id
        #: Where its runs lie.
        self.paths = paths
        #: What ``find`` names by an index.
        self.places = Places()
        self._budgets = budgets
        self._runs = runs
        self._definitions: dict[int, RunDefined] = {}
        self._series_definitions: dict[int, SeriesDefined] = {}
        self._series = SeriesTable()
        #: Runs that were ended and are kept, the oldest first; and those that were forgotten.
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._forgotten: OrderedDict[int, None] = OrderedDict()
        self._left_out = LeftOut()

    def __contains__(self, number: int) -> bool:
        return number in self._definitions

    def main_place(self, number: int) -> Place | None:
        """The place of run ``number`` itself; None if it was never defined."""
        definition = self._definitions.get(number)
        return None if definition is None else self.places[definition.places[""]]

    def name_of(self, number: int, sub_run: str = "") -> str:
        """Run ``number``, or its directory ``sub_run``, as the client named it, for people."""
        definition = self._definitions.get(number)
        if definition is None:
            return f"number {number}"
        parts = (definition.message.logdir, definition.message.name, sub_run)
        return "/".join(part for part in parts if part and part != ".")

    def holds(self, place: Place, run: RunState) -> bool:
        """Whether the session still logs to ``run`` of ``place``."""
        return (self._session_id, place.number) in run.holders

    def numbers(self) -> list[int]:
        """The session's numbers of its runs."""
        return list(self._definitions)

    def numbers_of(self, run: RunState) -> list[int]:
        """The session's numbers of the runs whose own directory is ``run``."""
        return [
            number
            for number, definition in self._definitions.items()
            if run in self.places[definition.places[""]].runs
        ]

    def runs(self) -> list[RunState]:
        """The runs that the session defined, sub-runs too."""
        return self.runs_among(self._definitions)

    def runs_among(self, numbers: Iterable[int]) -> list[RunState]:
        """The directories of some runs of the client's, by number, sub-runs too."""
        known = (self._definitions[number] for number in numbers if number in self._definitions)
        places = (self.places[index] for one in known for index in one.places.values())
        return list(dict.fromkeys(run for place in places for run in place.runs))

    @property
    def series_count(self) -> int:
        """Series that are defined."""
        return len(self._series_definitions)

    def held_runs(self) -> list[RunState]:
        """The runs that the session still logs to."""
        return [
            run
            for number, definition in self._definitions.items()
            for index in definition.places.values()
            for run in self.places[index].runs
            if (self._session_id, number) in run.holders
        ]

    def hold(self, place: Place, run: RunState) -> None:
        """Notes that the session logs to ``run`` of ``place``, even if it had ended it."""
        if self._ended:
            self._ended.pop(place.number, None)
        run.holders.add((self._session_id, place.number))

    def release(self, numbers: Iterable[int]) -> list[tuple[int, RunState]]:
        """Notes that the session logs no more to these runs.

        Returns their directories, each with the number of its run.
        """
        released = []
        for number in numbers:
            self._ended[number] = None
            for index in self._definitions[number].places.values():
                for run in self.places[index].runs:
                    if (self._session_id, number) in run.holders:
                        run.holders.discard((self._session_id, number))
                        released.append((number, run))
        return released

    def unresolved(
        self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]
    ) -> set[str]:
        """The directories to be looked up before ``definitions`` are taken; see ``RunPaths``."""
        return self.paths.unresolved(definitions, logdirs, self._forgotten)

    def forget_ended(self, is_out: Callable[[RunState], bool]) -> None:
        """Forgets the oldest of the runs that were ended, but none with a directory that is out."""
        kept = sum(len(self._definitions[number].places) for number in self._ended)
        if kept <= MAX_ENDED_PLACES:
            return
        forgotten: list[int] = []
        for number in list(self._ended):
            places = self._definitions[number].places.values()
            runs = [run for index in places for run in self.places[index].runs]
            if any(is_out(run) for run in runs):
                continue
            for run in runs:
                self._runs.leave_run(run, (self._session_id, number))
            forgotten += self._forget(number)
            kept -= len(places)
            if kept <= MAX_ENDED_PLACES // 2:
                break
        self._series.remove(forgotten)

    def _forget(self, number: int) -> list[int]:
        """Forgets a run; returns its series."""
        del self._ended[number]
        definition = self._definitions.pop(number)
        self.places.remove(definition.places.values())
        self.paths.remove(number)
        self._runs.definitions.give_back(self._session_id, definition.size_bytes)
        for series in definition.series:
            del self._series_definitions[series]
        self._forgotten[number] = None
        if len(self._forgotten) > MAX_FORGOTTEN:
            self._forgotten.popitem(last=False)
        return definition.series

    def run_of(self, series: int) -> int:
        """The client's number of the run that it defined a series for; 0 if it is not known."""
        definition = self._series_definitions.get(series)
        return self._left_out.run_of(series) if definition is None else definition.run

    def runs_of(self, series: NDArray[np.uint32]) -> NDArray[np.intp]:
        """As ``run_of``, of each of ``series``, shape ``[n]``."""
        found, index = np.unique(series, return_inverse=True)
        runs = np.array([self.run_of(number) for number in found.tolist()], np.intp)
        of_each: NDArray[np.intp] = runs[index.reshape(-1)]
        return of_each

    def refusals_of(self, run: RunState) -> list[RunRefusal]:
        """What is to be told now that ``run`` is refused."""
        numbers = [number for key, number in run.members if key == self._session_id]
        return [
            told
            for told in self.refusals_among(numbers)
            if not told.sub_run or told.refusal is run.refusal
        ]

    def refusals_among(self, numbers: Iterable[int]) -> list[RunRefusal]:
        """The refusals of some runs of the client's, by number, or of their directories."""
        refusals = []
        for number in numbers:
            definition = self._definitions.get(number)
            places = {} if definition is None else definition.places
            refused = {
                sub_run: refusal
                for sub_run, index in places.items()
                if (refusal := self.places[index].refusal) is not None
            }
            if refused and len(refused) == len(places):
                refusals.append(RunRefusal(number, next(iter(refused.values()))))
            else:
                refusals += [
                    RunRefusal(number, refusal, sub_run or ".")
                    for sub_run, refusal in refused.items()
                ]
                refusals += [
                    RunRefusal(number, refusal, f"rank_{own.rank}/{sub_run}".rstrip("/"))
                    for sub_run, index in places.items()
                    if (own := self.places[index].own) is not None
                    and (refusal := own.refusal) is not None
                ]
        return refusals

    def find(
        self, numbers: NDArray[np.uint32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Returns the place, the tag and the refusal of each series, arrays of shape ``[n]``.

        The refusal is a ``Reason``, 0 if there is none.
        """
        known, place, tag, reason = self._series.find(numbers)
        if not known.all():
            unknown, index = np.unique(numbers[~known], return_inverse=True)
            reasons = [self._left_out.reason(number) for number in unknown.tolist()]
            reason = reason.copy()
            reason[~known] = np.array(reasons, np.intp)[index.reshape(-1)]
        return place, tag, reason

    def find_one(self, number: int) -> Series:
        """As ``find``, of one series."""
        return self._series.find_one(number) or Series(0, 0, self._left_out.reason(number))

    def why(self, number: int) -> str:
        """Why series ``number`` is refused, for people."""
        definition = self._series_definitions.get(number)
        if definition is not None and definition.refusal is not None:
            return definition.refusal.message
        reason = self._left_out.reason(number)
        if reason == pb.TOO_MANY_RUNS:
            return (
                f"the run of series {number} is past the budget of one session: "
                f"{self._budgets.max_runs} open runs (--max-runs)"
            )
        if reason == pb.TOO_MANY_SERIES:
            return (
                f"series {number} is past the budget of one session: "
                f"{self._budgets.max_series_per_session} tags (--max-series-per-session) and its "
                f"part of {self._budgets.max_definition_bytes} bytes (--max-definition-bytes)"
            )
        return f"series {number} is not defined"

    def _has_room(self, definition: RunDefined, text_bytes: int, *, directories: int) -> bool:
        """Counts what ``definition`` takes, if that is not more than the session may have.

        A definition without new ``directories`` is a tag's.
        """
        size_bytes = _COPIES * text_bytes + (directories * DIRECTORY_BYTES or SERIES_BYTES)
        if not self._runs.definitions.take(self._session_id, size_bytes):
            return False
        definition.size_bytes += size_bytes
        return True
