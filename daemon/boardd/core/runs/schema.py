"""What one session defined: its runs, their directories, and its series.

A definition that cannot be honoured is kept with its refusal, so that the
records that use it are rejected with the reason. Definitions are idempotent: a
client sends all of them again after a reconnect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.budget import Budgets
from boardd.core.errors import CapacityError, RequestError
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs import names
from boardd.core.runs.run_paths import RunPaths
from boardd.core.runs.run_state import Member, Runs, RunState
from boardd.core.runs.series import Series, SeriesTable
from boardd.core.sync_policy import SyncPolicy

#: Bytes of all definitions of a session.
MAX_DEFINITION_BYTES: Final = 64 << 20
#: What a definition costs beside its text.
DEFINITION_BYTES: Final = 256


@dataclass(frozen=True)
class RunRefusal:
    """A run of a session that is refused."""

    run: int
    refusal: Refusal


@dataclass
class Defined:
    """What came of definitions: runs to open, and runs that are refused."""

    runs: list[RunState] = field(default_factory=list)
    refusals: list[RunRefusal] = field(default_factory=list)


class Purge(NamedTuple):
    """What a run holds from ``step`` on is out of date for writers of ``epoch`` and later."""

    epoch: int
    step: int


@dataclass
class Place:
    """A directory of one of the session's runs: the run's own, or a sub-run's."""

    number: int
    run: RunState | None
    refused: Refusal | None
    #: What is to be done once, before the first record.
    purge: Purge | None = None

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be written here, if so."""
        return self.run.refusal if self.run is not None else self.refused


@dataclass
class _Definition:
    """A run as the session defined it."""

    message: pb.RunDefinition
    member: Member
    #: From sub-directory to its place in the table of places.
    places: dict[str, int] = field(default_factory=dict)


class Places:
    """The places of one session, by their index."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._first_of_run: dict[RunState, int] = {}
        self._first = np.zeros(0, np.intp)
        self._unpurged: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Place:
        return self._places[index]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    @property
    def first(self) -> NDArray[np.intp]:
        """For each place, the first one of the same run, intp[n]."""
        known = len(self._first)
        if known < len(self._places):
            new = [
                index if place.run is None else self._first_of_run.setdefault(place.run, index)
                for index, place in enumerate(self._places[known:], known)
            ]
            self._first = np.append(self._first, new).astype(np.intp)
        return self._first

    def add(self, place: Place) -> int:
        """Adds a place; returns its index."""
        if place.purge is not None:
            self._unpurged.add(len(self._places))
        self._places.append(place)
        return len(self._places) - 1

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

    def take_purge(self, index: int) -> Purge | None:
        """Returns the purge that is due at a place, once."""
        if index not in self._unpurged:
            return None
        self._unpurged.discard(index)
        return self._places[index].purge


class Schema:
    """The definitions of one session; see the module."""

    def __init__(
        self,
        session_id: bytes,
        hostname: str,
        pid: int,
        budgets: Budgets,
        runs: Runs,
    ) -> None:
        self._session_id = session_id
        #: Where its runs lie.
        self.paths = RunPaths(hostname, pid)
        self._budgets = budgets
        self._runs = runs
        self._definitions: dict[int, _Definition] = {}
        self._series_definitions: dict[int, tuple[int, str, str]] = {}
        self._series = SeriesTable()
        self._refusals: dict[int, Refusal] = {}
        self._too_many_series = False
        #: What ``find`` names by an index.
        self.places = Places()
        self._size_bytes = 0

    def __contains__(self, number: int) -> bool:
        return number in self._definitions

    def main_place(self, number: int) -> Place | None:
        """The place of run ``number`` itself; None if it was never defined."""
        definition = self._definitions.get(number)
        return None if definition is None else self.places[definition.places[""]]

    def holds(self, place: Place) -> bool:
        """Whether the session still logs to the run at ``place``."""
        return place.run is not None and (self._session_id, place.number) in place.run.holders

    def numbers(self) -> list[int]:
        """The session's numbers of its runs."""
        return list(self._definitions)

    def numbers_of(self, run: RunState) -> list[int]:
        """The session's numbers of the runs whose own directory is ``run``."""
        return [
            number
            for number, definition in self._definitions.items()
            if self.places[definition.places[""]].run is run
        ]

    def runs(self) -> list[RunState]:
        """The runs that the session defined, sub-runs too."""
        return list(dict.fromkeys(place.run for place in self.places if place.run is not None))

    def held_runs(self) -> list[RunState]:
        """The runs that the session still logs to."""
        return [
            place.run
            for place in self.places
            if place.run is not None and (self._session_id, place.number) in place.run.holders
        ]

    def hold(self, place: Place, run: RunState) -> None:
        """Notes that the session logs to ``run``, even if it had ended it."""
        run.holders.add((self._session_id, place.number))

    def release(self, numbers: Iterable[int]) -> list[RunState]:
        """Notes that the session logs no more to these runs; returns their directories."""
        released = []
        for number in numbers:
            for index in self._definitions[number].places.values():
                run = self.places[index].run
                if run is not None and (self._session_id, number) in run.holders:
                    run.holders.discard((self._session_id, number))
                    released.append(run)
        return released

    def find(
        self, numbers: NDArray[np.uint32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Returns the place, the tag and the refusal of each series, arrays of shape ``[n]``.

        The refusal is a ``Reason``, 0 if there is none.
        """
        known, place, tag, reason = self._series.find(numbers)
        if not known.all():
            reason = np.where(known, reason, self._unknown)
        return place, tag, reason

    def find_one(self, number: int) -> Series:
        """As ``find``, of one series."""
        return self._series.find_one(number) or Series(0, 0, self._unknown)

    def why(self, number: int) -> str:
        """Why series ``number`` is refused, for people."""
        refusal = self._refusals.get(number)
        if refusal is not None:
            return refusal.message
        if self._too_many_series:
            return (
                f"series {number} is past the budget of one session: "
                f"{self._budgets.max_series_per_session} tags (--max-series-per-session) and "
                f"{MAX_DEFINITION_BYTES} bytes of their names"
            )
        return f"series {number} is not defined"

    def _is_full(self, size_bytes: int) -> bool:
        """Counts a definition; whether that is more than a session may have."""
        self._size_bytes += size_bytes + DEFINITION_BYTES
        return self._size_bytes > MAX_DEFINITION_BYTES

    @property
    def _unknown(self) -> int:
        return pb.TOO_MANY_SERIES if self._too_many_series else pb.UNDEFINED_SERIES

    def define(self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]) -> Defined:
        """Takes runs and series; those known already are passed over.

        ``logdirs`` leads from each logdir as the client wrote it to its absolute
        path without symbolic links, or to why it is refused.

        Raises ``RequestError`` when a number is defined anew with another
        meaning or a series names no run, ``CapacityError`` past the budget of
        runs.
        """
        defined = Defined()
        for run in definitions.runs:
            self._define_run(run, logdirs, defined)
        for series in definitions.series:
            self._define_series(series, defined)
        return defined

    def _define_run(
        self,
        message: pb.RunDefinition,
        logdirs: Mapping[str, str | Refusal],
        defined: Defined,
    ) -> None:
        known = self._definitions.get(message.run)
        if known is not None:
            if known.message != message:
                raise RequestError(f"run {message.run} is defined already, as something else")
            refusal = self.places[known.places[""]].refusal
            if refusal is not None:
                defined.refusals.append(RunRefusal(message.run, refusal))
            return
        is_too_large = self._is_full(message.ByteSize())
        if is_too_large or len(self._definitions) >= self._budgets.max_runs:
            raise CapacityError(
                f"run {message.run} is past the budget of one session: "
                f"{self._budgets.max_runs} runs (--max-runs) and {MAX_DEFINITION_BYTES} bytes",
                pb.TOO_MANY_RUNS,
            )
        copy = pb.RunDefinition()
        copy.CopyFrom(message)
        definition = _Definition(copy, _member(message))
        self._definitions[message.run] = definition
        logdir = logdirs[message.logdir]
        if isinstance(logdir, Refusal):
            self._add_place(definition, "", None, logdir, defined)
            return
        try:
            names.check_reduce(message.reduce)
            names.check_suffix(message.filename_suffix)
            _check_purge(message)
            self.paths.add(message, logdir)
        except RefusedError as error:
            self._add_place(definition, "", None, error.refusal, defined)
            return
        self._join(definition, "", *self.paths.of_run(message.run), defined)

    def _join(
        self, definition: _Definition, sub_run: str, path: str, group: str, defined: Defined
    ) -> int:
        number = definition.message.run
        try:
            run = self._runs.join(
                path,
                group,
                definition.message.filename_suffix,
                (self._session_id, number),
                definition.member,
            )
        except RefusedError as error:
            return self._add_place(definition, sub_run, None, error.refusal, defined)
        defined.runs.append(run)
        return self._add_place(definition, sub_run, run, None, defined)

    def _add_place(
        self,
        definition: _Definition,
        sub_run: str,
        run: RunState | None,
        refused: Refusal | None,
        defined: Defined,
    ) -> int:
        purge = _purge_of(definition.message) if run is not None else None
        index = self.places.add(Place(definition.message.run, run, refused, purge))
        definition.places[sub_run] = index
        if refused is not None:
            defined.refusals.append(RunRefusal(definition.message.run, refused))
        return index

    def _define_series(self, message: pb.SeriesDefinition, defined: Defined) -> None:
        content = (message.run, message.tag, message.sub_run)
        known = self._series_definitions.get(message.series)
        if known is not None:
            if known != content:
                raise RequestError(f"series {message.series} is defined already, as something else")
            return
        definition = self._definitions.get(message.run)
        if definition is None:
            raise RequestError(f"series {message.series} names run {message.run}, never defined")
        is_too_large = self._is_full(message.ByteSize())
        count = len(self._series_definitions)
        if is_too_large or count >= self._budgets.max_series_per_session:
            self._too_many_series = True
            return
        self._series_definitions[message.series] = content
        place, tag_index, refusal = 0, 0, None
        try:
            tag = names.clean_tag(message.tag)
            place = self._place_of(definition, message.sub_run, defined)
            run = self.places[place].run
            if run is not None:
                tag_index = run.tag_index(tag)
        except RefusedError as error:
            refusal = error.refusal
        if refusal is not None:
            self._refusals[message.series] = refusal
        reason = refusal.reason if refusal is not None else 0
        self._series.add(message.series, Series(place, tag_index, reason))

    def _place_of(self, definition: _Definition, sub_run: str, defined: Defined) -> int:
        """The place of a sub-run. Raises ``RefusedError``."""
        place = definition.places.get(sub_run)
        if place is not None:
            return place
        main = definition.places[""]
        if self.places[main].run is None:
            return main  # the run itself is refused
        number = definition.message.run
        path, group = self.paths.of_sub_run(number, sub_run)
        if path == self.paths.of_run(number)[0]:
            return main
        return self._join(definition, sub_run, path, group, defined)


def _member(message: pb.RunDefinition) -> Member:
    return Member(
        message.rank,
        message.world_size,
        message.reduce,
        SyncPolicy(message.sync_secs, message.sync_on_flush),
        message.umask & 0o777 if message.HasField("umask") else None,
        message.epoch,
        message.has_siblings,
    )


def _purge_of(message: pb.RunDefinition) -> Purge | None:
    return Purge(message.epoch, message.purge_step) if message.HasField("purge_step") else None


def _check_purge(message: pb.RunDefinition) -> None:
    """Raises ``RefusedError`` for a purge that could not be told from the next one."""
    if message.HasField("purge_step") and not message.epoch:
        raise RefusedError(
            pb.UNSUPPORTED,
            f"purge_step {message.purge_step} without an epoch; set RunDefinition.epoch",
        )
