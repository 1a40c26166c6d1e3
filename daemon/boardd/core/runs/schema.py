"""Takes what one session defines: its runs, their directories, and its series.

A definition that cannot be honoured is kept with its refusal, so that the
records that use it are rejected with the reason. Definitions are idempotent: a
client sends all of them again after a reconnect.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from boardd_protos import boardd_pb2 as pb
from boardd_protos import merging

from boardd.core.budget import Budgets
from boardd.core.errors import RequestError
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs import names
from boardd.core.runs.defined_runs import (
    MAX_ENDED_PLACES,
    DefinedRuns,
    RunDefined,
    RunRefusal,
    SeriesDefined,
)
from boardd.core.runs.own_run import OwnRun
from boardd.core.runs.places import Place, Purge
from boardd.core.runs.run_paths import RunDirectories, RunPaths
from boardd.core.runs.run_state import KeptSeries, Member, Process, Runs, RunState
from boardd.core.runs.series import Series
from boardd.core.sync_policy import SyncPolicy


@dataclass
class Defined:
    """What came of definitions: runs to open, and runs that are refused."""

    runs: list[RunState] = field(default_factory=list)
    refusals: list[RunRefusal] = field(default_factory=list)


class Schema(DefinedRuns):
    """The definitions of one session, and how more are taken; see the module."""

    def __init__(
        self,
        session_id: bytes,
        hostname: str,
        pid: int,
        budgets: Budgets,
        runs: Runs,
    ) -> None:
        super().__init__(session_id, budgets, runs, RunPaths(hostname, pid))
        self._hostname = hostname
        self._pid = pid
        #: What each rank keeps, by the group's journal and the rank. The first definition that
        #: is in force counts, so that a record goes the same way whichever writer logs it.
        self._own_runs: WeakValueDictionary[tuple[str, int], OwnRun] = WeakValueDictionary()

    def define(self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]) -> Defined:
        """Takes runs and series; those known already are passed over, and those of ended runs.

        ``logdirs`` leads from each logdir as the client wrote it to its absolute
        path without symbolic links, or to why it is refused.

        What is past a budget is left out, and its records will be rejected.

        Raises ``RequestError`` when a number is defined anew with another
        meaning.
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
            self._define_again(known, message)
            defined.refusals += self.refusals_among([message.run])
            return
        if message.run in self._forgotten:
            return
        copy = pb.RunDefinition()
        copy.CopyFrom(message)
        definition = RunDefined(copy, _member(message, self._hostname, self._pid))
        # Past those that are kept in any case, a run that was ended is out: it takes what an
        # open one does.
        kept = min(len(self._ended), MAX_ENDED_PLACES)
        is_full = len(self._definitions) - kept >= self._budgets.max_runs
        if is_full or not self._has_room(definition, message.ByteSize(), directories=1):
            self._left_out.add_run(message.run)
            refusal = Refusal(
                pb.TOO_MANY_RUNS,
                f"run {message.run} is past the budget of one session: {self._budgets.max_runs} "
                "open runs (--max-runs) and its part of "
                f"{self._budgets.max_definition_bytes} bytes (--max-definition-bytes); close "
                "writers",
            )
            defined.refusals.append(RunRefusal(message.run, refusal))
            return
        self._left_out.remove_run(message.run)
        self._definitions[message.run] = definition
        logdir = logdirs[message.logdir]
        if isinstance(logdir, Refusal):
            self._add_place(definition, "", None, logdir, defined)
            return
        try:
            names.check_reduce(message.reduce)
            names.per_rank_of(message)
            names.check_suffix(message.filename_suffix)
            _check_purge(message)
            self.paths.add(message, logdir)
        except RefusedError as error:
            self._add_place(definition, "", None, error.refusal, defined)
            return
        self._join(definition, "", self.paths.of_run(message.run), defined)
        if message.HasField("purge_step"):
            self._define_old(definition, defined)

    def _define_old(self, definition: RunDefined, defined: Defined) -> None:
        """Adds what is there of a run that purges: its curves on the disk, and those open."""
        number = definition.message.run
        sub_runs = self.paths.take_found(number)
        for run in self._runs.values():
            levels = self.paths.levels(number, run.path)
            if levels and levels == run.contents.curve_levels:
                sub_runs.append("/".join(run.path.split("/")[-levels:]))
        for sub_run in sub_runs:
            with contextlib.suppress(RefusedError):  # as it will be if it is logged to
                self.places[self._place_of(definition, sub_run, defined)].is_old = True

    def _define_again(self, known: RunDefined, message: pb.RunDefinition) -> None:
        """Takes a later epoch of the writer's process; all else must be as before."""
        copy = pb.RunDefinition()
        copy.CopyFrom(message)
        copy.latest_epoch = known.message.latest_epoch
        if copy != known.message:
            raise RequestError(f"run {message.run} is defined already, as something else")
        if message.latest_epoch <= known.member.epoch:
            return
        known.message.latest_epoch = message.latest_epoch
        known.member = replace(known.member, epoch=message.latest_epoch)
        for place in known.places.values():
            holder = (self._session_id, message.run)
            for run in self.places[place].runs:
                if holder in run.members:
                    member = replace(run.members[holder], epoch=message.latest_epoch)
                    run.members.join(holder, member)

    def _join(
        self, definition: RunDefined, sub_run: str, lies: RunDirectories, defined: Defined
    ) -> int:
        member = definition.member
        own = None
        try:
            if names.is_merged(member.rank, member.world_size):
                run, own = self._join_group(definition, lies, defined)
            else:
                run = self._join_run(definition, lies.own, lies.group)
        except RefusedError as error:
            return self._add_place(definition, sub_run, None, error.refusal, defined)
        defined.runs.append(run)
        return self._add_place(definition, sub_run, run, None, defined, own)

    def _join_group(
        self, definition: RunDefined, lies: RunDirectories, defined: Defined
    ) -> tuple[RunState, OwnRun]:
        journal, member = names.journal_path(lies.group), definition.member
        if not self._runs.are_forwarded:
            run = self._join_run(definition, journal, lies.group)
            return run, self._own_run(definition, run, lies, defined)
        per_rank = names.per_rank_of(definition.message)
        kept = KeptSeries(per_rank, posixpath.relpath(lies.own, lies.group))
        member = replace(member, kept=kept)
        run = self._join_run(definition, journal, lies.group, member)
        return run, OwnRun(member.rank, "none")

    def _join_run(
        self, definition: RunDefined, path: str, group: str, member: Member | None = None
    ) -> RunState:
        return self._runs.join(
            path,
            group,
            definition.message.filename_suffix,
            (self._session_id, definition.message.run),
            member or definition.member,
            curve_levels=self.paths.levels(definition.message.run, path),
        )

    def _own_run(
        self, definition: RunDefined, journal: RunState, lies: RunDirectories, defined: Defined
    ) -> OwnRun:
        """What a rank keeps beside ``journal``. Its refusal is told, and refuses nothing else."""
        rank = definition.member.rank
        key = journal.path, rank
        own = self._own_runs.get(key)
        if own is None:
            per_rank = names.per_rank_of(definition.message)
            own = self._own_runs[key] = OwnRun(rank, per_rank)
        # One that was refused lacks the tags that were defined meanwhile, and stays refused.
        if own.per_rank == "none" or own.refused is not None:
            return own
        try:
            own.run = self._join_run(definition, lies.own, lies.group)
        except RefusedError as error:
            if own.run is None:
                own.refused = error.refusal
        else:
            defined.runs.append(own.run)
        return own

    def _add_place(
        self,
        definition: RunDefined,
        sub_run: str,
        run: RunState | None,
        refused: Refusal | None,
        defined: Defined,
        own: OwnRun | None = None,
    ) -> int:
        purge = _purge_of(definition.message) if run is not None else None
        place = Place(definition.message.run, run, refused, purge, own=own)
        index = self.places.add(place)
        definition.places[sub_run] = index
        if refused is not None:
            defined.refusals.append(RunRefusal(place.number, refused, sub_run))
        elif own is not None and own.refused is not None:
            defined.refusals += self.refusals_among([place.number])
        return index

    def _define_series(self, message: pb.SeriesDefinition, defined: Defined) -> None:
        content = SeriesDefined(message.run, message.tag, message.sub_run)
        known = self._series_definitions.get(message.series)
        if known is not None:
            if (known.run, known.tag, known.sub_run) != (content.run, content.tag, content.sub_run):
                raise RequestError(f"series {message.series} is defined already, as something else")
            return
        definition = self._definitions.get(message.run)
        if definition is None:
            self._left_out.add_series(message.series, message.run, run_is_defined=False)
            return
        is_full = self.series_count >= self._budgets.max_series_per_session
        directories = int(message.sub_run not in definition.places)
        if is_full or not self._has_room(definition, message.ByteSize(), directories=directories):
            self._left_out.add_series(message.series, message.run, run_is_defined=True)
            return
        self._left_out.remove_series(message.series)
        self._series_definitions[message.series] = content
        definition.series.append(message.series)
        place, tag_index, refusal = 0, 0, None
        try:
            as_given = definition.message.tags_as_given
            tag = names.shown_tag(message.tag, as_given=as_given)
            reduction = names.check_reduce(message.reduce) or definition.message.reduce
            place = self._place_of(definition, message.sub_run, defined)
            run, own = self.places[place].run, self.places[place].own
            if run is not None:
                tag_index = run.tag_index(tag, reduction)
            if own is not None and own.run is not None:
                own.tags.add(tag_index, own.run.tag_index(tag, reduction))
        except RefusedError as error:
            refusal = error.refusal
        if refusal is not None:
            content.refusal = refusal
        reason = refusal.reason if refusal is not None else 0
        self._series.add(message.series, Series(place, tag_index, reason))

    def _place_of(self, definition: RunDefined, sub_run: str, defined: Defined) -> int:
        """The place of a sub-run. Raises ``RefusedError``."""
        place = definition.places.get(sub_run)
        if place is not None:
            return place
        main = definition.places[""]
        if self.places[main].run is None:
            return main  # the run itself is refused
        number = definition.message.run
        lies = self.paths.of_sub_run(number, sub_run)
        if lies.own == self.paths.of_run(number).own:
            return main
        return self._join(definition, sub_run, lies, defined)


def _member(message: pb.RunDefinition, hostname: str, pid: int) -> Member:
    return Member(
        message.rank,
        message.world_size,
        message.reduce,
        SyncPolicy(message.sync_secs, message.sync_on_flush),
        message.umask & 0o777 if message.HasField("umask") else None,
        max(message.epoch, message.latest_epoch),
        message.has_siblings,
        message.launch,
        message.attempt,
        Process(hostname, pid, message.process_id[: merging.PROCESS_ID_BYTES]),
        purges=message.HasField("purge_step"),
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
