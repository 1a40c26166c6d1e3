"""The runs and series that a session has defined, and which the daemon was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Series of one session; a budget against tags made without end.
MAX_SERIES: Final = 100_000

#: Series in all sets of one session; a budget against ever new combinations.
MAX_SET_MEMBERS: Final = 400_000

#: Numbers in one message, about.
_PER_MESSAGE: Final = 256


@dataclass
class DefinedRun:
    """A run, and what became of its records beside being written."""

    definition: pb.RunDefinition
    refusal: str = ""  #: why the daemon writes none of it; empty when it does
    rejected: int = 0
    last_rejection: str = ""
    series: list[int] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Its number in the session."""
        return self.definition.run


class Definitions:
    """Not thread-safe: its session locks.

    Runs, series and sets of series are numbered together, from 1.
    """

    def __init__(self) -> None:
        self._runs: dict[int, DefinedRun] = {}
        self._series: dict[int, pb.SeriesDefinition] = {}
        self._sets: dict[int, tuple[DefinedRun, pb.SeriesSet]] = {}
        self._set_members = 0
        self._last_number = 0
        self._untold_runs: deque[int] = deque()
        self._untold_series: deque[int] = deque()
        self._untold_sets: deque[int] = deque()

    def add_run(self, definition: pb.RunDefinition) -> DefinedRun:
        """Adds a run; sets its number in ``definition``."""
        self._last_number += 1
        definition.run = self._last_number
        run = self._runs[self._last_number] = DefinedRun(definition)
        self._untold_runs.append(self._last_number)
        return run

    def add_series(self, run: DefinedRun, tag: str, sub_run: str) -> int:
        """Adds a series and returns its number; 0 when there are too many."""
        if len(self._series) >= MAX_SERIES:
            return 0
        self._last_number += 1
        number = self._last_number
        self._series[number] = pb.SeriesDefinition(
            series=number, run=run.number, tag=tag, sub_run=sub_run
        )
        run.series.append(number)
        self._untold_series.append(number)
        return number

    def add_set(self, run: DefinedRun, series: Sequence[int]) -> int:
        """Adds a set of a run's series and returns its number; 0 when there are too many."""
        if self._set_members + len(series) > MAX_SET_MEMBERS:
            return 0
        self._set_members += len(series)
        self._last_number += 1
        number = self._last_number
        self._sets[number] = (run, pb.SeriesSet(set=number, series=series))
        run.sets.append(number)
        self._untold_sets.append(number)
        return number

    def remove_run(self, number: int) -> None:
        """Forgets a run that has ended, its series and its sets."""
        run = self._runs.pop(number, None)
        if run is None:
            return
        for series in run.series:
            self._series.pop(series, None)
        for series_set in run.sets:
            _, definition = self._sets.pop(series_set)
            self._set_members -= len(definition.series)

    def series(self, number: int) -> pb.SeriesDefinition:
        """The definition of a series. Raises ``KeyError``."""
        return self._series[number]

    def set_of(self, number: int) -> pb.SeriesSet | None:
        """The set of that number."""
        found = self._sets.get(number)
        return found[1] if found is not None else None

    def run(self, number: int) -> DefinedRun | None:
        """The run of that number."""
        return self._runs.get(number)

    def run_of(self, series: int) -> DefinedRun | None:
        """The run that a series, or a set of them, belongs to."""
        if series in self._sets:
            return self._sets[series][0]
        definition = self._series.get(series)
        return self._runs.get(definition.run) if definition is not None else None

    def tell_all(self) -> None:
        """The daemon is a new one, perhaps: all is to be told again."""
        self._untold_runs = deque(self._runs)
        self._untold_series = deque(self._series)
        self._untold_sets = deque(self._sets)

    def untold(self) -> Iterator[pb.Definitions]:
        """Yields what is still to be told, in modest messages.

        Runs come before their series, and series before their sets.
        """
        while self._untold_runs or self._untold_series or self._untold_sets:
            message = pb.Definitions()
            numbers = 0
            while numbers < _PER_MESSAGE:
                numbers += 1
                # What was removed meanwhile is passed over.
                if self._untold_runs:
                    run = self._runs.get(self._untold_runs.popleft())
                    if run is not None:
                        message.runs.append(run.definition)
                elif self._untold_series:
                    series = self._series.get(self._untold_series.popleft())
                    if series is not None:
                        message.series.append(series)
                elif self._untold_sets:
                    found = self._sets.get(self._untold_sets.popleft())
                    if found is not None:
                        message.sets.append(found[1])
                        numbers += len(found[1].series)
                else:
                    break
            yield message
