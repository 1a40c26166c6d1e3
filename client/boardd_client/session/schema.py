"""The runs and series that a session has defined, and which the daemon was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.ring import Ring
from boardd_client.session.kinds import RunKinds
from boardd_client.session.latest_epoch import LatestEpoch

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
    written_in_part: int = 0  #: records of which something was refused
    last_left_out: str = ""  #: what, of the last of them
    #: Whether it takes no more records until some of those that wait are done.
    is_held_up: bool = False
    series: list[int] = field(default_factory=list)
    kinds: RunKinds = field(default_factory=RunKinds)  #: of all runs in its directory
    latest_epoch: LatestEpoch = field(default_factory=LatestEpoch)  #: of its directory, too
    #: Tags whose scalars go straight to the ring, and their series; none while it is held up.
    by_tag: dict[str, int] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number in the session."""
        return self.definition.run

    def told(self) -> pb.RunDefinition:
        """Its definition, with the latest epoch of now."""
        if self.latest_epoch.value > self.definition.epoch:
            self.definition.latest_epoch = self.latest_epoch.value
        return self.definition

    def hold_up(self, *, is_held_up: bool) -> None:
        """Takes no more records, or takes them again."""
        self.is_held_up = is_held_up
        if is_held_up:
            self.by_tag.clear()


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

    def add_run(self, definition: pb.RunDefinition, latest_epoch: LatestEpoch) -> DefinedRun:
        """Adds a run; sets its number in ``definition``, and raises ``latest_epoch`` to its own."""
        self._last_number += 1
        definition.run = self._last_number
        directory = (definition.logdir, definition.name, definition.rank, definition.world_size)
        kinds = self._kinds.setdefault(directory, RunKinds())
        latest_epoch.raise_to(definition.epoch)
        run = DefinedRun(definition, kinds=kinds, latest_epoch=latest_epoch)
        self._runs[self._last_number] = run
        self._untold_runs.append(self._last_number)
        self._keep(pb.Definitions(runs=[run.told()]))
        return run

    def add_series(self, run: DefinedRun, tag: str, sub_run: str, reduce: str = "") -> int:
        """Adds a series and returns its number; 0 when there are too many.

        Its ranks are merged by ``reduce``; empty: as the run's.
        """
        if len(self._series) >= MAX_SERIES:
            return 0
        self._last_number += 1
        number = self._last_number
        self._series[number] = pb.SeriesDefinition(
            series=number, run=run.number, tag=tag, sub_run=sub_run, reduce=reduce
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

    def run(self, number: int) -> DefinedRun | None:
        """The run of that number, unless it is over."""
        return self._runs.get(number)

    def runs(self) -> list[DefinedRun]:
        """The runs that are not over."""
        return list(self._runs.values())

    def has_other_than(self, numbers: Collection[int]) -> bool:
        """Whether any run is not over but those of these numbers."""
        return any(number not in numbers for number in self._runs)

    def number_of_run(self, series: int) -> int:
        """The number of a series' run; 0 if that is over."""
        definition = self._series.get(series)
        return 0 if definition is None else definition.run

    def runs_of(self, series: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """As ``number_of_run``, of each of ``series``, shape ``[n]``."""
        found, index = np.unique(series, return_inverse=True)
        runs = np.array([self.number_of_run(number) for number in found.tolist()], np.uint32)
        of_each: NDArray[np.uint32] = runs[index.reshape(-1)]
        return of_each

    def run_of(self, sequence: int) -> DefinedRun | None:
        """The run of a record that is in the ring."""
        definition = self._series.get(self._ring.target_of(sequence) or 0)
        return self._runs.get(definition.run) if definition is not None else None

    def runs_of_rejected(self, message: pb.Rejected) -> list[DefinedRun]:
        """The runs that rejected records were logged to, but for those that are over."""
        numbers = message.runs or [message.run]
        runs = [self._runs[number] for number in numbers if number in self._runs]
        first = self.run_of(message.sequence) if not runs else None
        return runs if first is None else [first]

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
                        message.runs.append(run.told())
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
