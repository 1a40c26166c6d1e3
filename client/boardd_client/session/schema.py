"""The runs and series that a session has defined, and which the daemon was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from boardd_protos import boardd_pb2 as pb

from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.ring import Ring
from boardd_client.session.kinds import RunKinds

#: Series of one session; a budget against tags made without end.
MAX_SERIES: Final = 100_000

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
    kinds: RunKinds = field(default_factory=RunKinds)  #: of all runs in its directory

    @property
    def number(self) -> int:
        """Its number in the session."""
        return self.definition.run


class Schema:
    """Not thread-safe: its session locks.

    Runs and series are numbered together, from 1. Each definition is also ``kept``, if the log
    is shared: there a daemon finds it if this process dies.
    """

    def __init__(self, ring: Ring, kept: KeptDefinitions | None) -> None:
        self._ring = ring
        self._kept = kept
        self._runs: dict[int, DefinedRun] = {}
        self._series: dict[int, pb.SeriesDefinition] = {}
        #: By what makes a run's directory.
        self._kinds: WeakValueDictionary[tuple[object, ...], RunKinds] = WeakValueDictionary()
        self._last_number = 0
        self._untold_runs: deque[int] = deque()
        self._untold_series: deque[int] = deque()

    def add_run(self, definition: pb.RunDefinition) -> DefinedRun:
        """Adds a run; sets its number in ``definition``."""
        self._last_number += 1
        definition.run = self._last_number
        directory = (definition.logdir, definition.name, definition.rank, definition.world_size)
        kinds = self._kinds.setdefault(directory, RunKinds())
        run = self._runs[self._last_number] = DefinedRun(definition, kinds=kinds)
        self._untold_runs.append(self._last_number)
        self._keep(pb.Definitions(runs=[definition]))
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
        self._keep(pb.Definitions(series=[self._series[number]]))
        return number

    def remove_run(self, number: int) -> None:
        """Forgets a run that has ended, and its series."""
        run = self._runs.pop(number, None)
        if run is None:
            return
        for series in run.series:
            self._series.pop(series, None)

    def refuse(self, number: int, why: str) -> DefinedRun | None:
        """Notes that the daemon writes none of a run; returns the run, unless it is over."""
        run = self._runs.get(number)
        if run is not None:
            run.refusal = why
        return run

    def run_of(self, sequence: int) -> DefinedRun | None:
        """The run of a record that is in the ring."""
        definition = self._series.get(self._ring.target_of(sequence) or 0)
        return self._runs.get(definition.run) if definition is not None else None

    def tell_all(self) -> None:
        """The daemon is a new one, perhaps: all is to be told again."""
        self._untold_runs = deque(self._runs)
        self._untold_series = deque(self._series)

    def untold(self) -> Iterator[pb.Definitions]:
        """Yields what is still to be told, in modest messages, runs before their series."""
        while self._untold_runs or self._untold_series:
            message = pb.Definitions()
            for _ in range(_PER_MESSAGE):
                # What was removed since then is passed over.
                if self._untold_runs:
                    run = self._runs.get(self._untold_runs.popleft())
                    if run is not None:
                        message.runs.append(run.definition)
                elif self._untold_series:
                    series = self._series.get(self._untold_series.popleft())
                    if series is not None:
                        message.series.append(series)
                else:
                    break
            yield message

    def _keep(self, definitions: pb.Definitions) -> None:
        if self._kept is not None:
            self._kept.append(definitions.SerializeToString())
