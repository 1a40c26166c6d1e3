"""Where the runs of one session lie: their directories, and those of their sub-runs.

A directory has one name here however many lead to it, so that it has one writer: links
in a path are resolved by whoever may look at the disk, before the run is defined.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Mapping
from typing import NamedTuple

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs import names


class RunDirectories(NamedTuple):
    """Where one process writes, and the directory that all ranks of its launch share."""

    own: str
    group: str


class RunPaths:
    """Paths by the session's number of a run."""

    def __init__(self, hostname: str, pid: int) -> None:
        self._hostname = hostname
        self._pid = pid
        #: As they were named.
        self._runs: dict[int, RunDirectories] = {}
        #: Where that led when the run was added: a run that is open does not move.
        self._resolved: dict[int, RunDirectories] = {}
        #: Where names led at the last look, if they lead elsewhere.
        self._links: dict[str, str] = {}
        #: Of runs that are to be added, the sub-runs that the disk has of them, by number.
        self._found: dict[int, list[str]] = {}

    def add(self, message: pb.RunDefinition, logdir: str) -> None:
        """Adds a run beneath ``logdir``. Raises ``RefusedError`` if its names cannot be."""
        named = self._of(message, logdir)
        self._runs[message.run] = named
        self._resolved[message.run] = self._follow(named)

    def remove(self, number: int) -> None:
        """Forgets a run."""
        self._runs.pop(number, None)
        self._resolved.pop(number, None)

    def of_run(self, number: int) -> RunDirectories:
        """The directories of a run that was added."""
        return self._resolved[number]

    def of_sub_run(self, number: int, sub_run: str) -> RunDirectories:
        """The same of a sub-run, as of the last look. Raises ``RefusedError`` for a bad name."""
        return self._follow(_beneath(self._runs[number], sub_run))

    def unresolved(
        self,
        definitions: pb.Definitions,
        logdirs: Mapping[str, str | Refusal],
        passed_over: Container[int] = (),
    ) -> set[str]:
        """The directories that ``definitions`` name, to be looked up for ``resolve``.

        ``logdirs`` is as for ``Schema.define``. Runs of the numbers ``passed_over`` are not added.
        """
        found: set[str] = set()
        runs = dict(self._runs)
        for message in definitions.runs:
            logdir = logdirs[message.logdir]
            is_new = message.run not in runs and message.run not in passed_over
            if is_new and isinstance(logdir, str):
                try:
                    runs[message.run] = self._of(message, logdir)
                except RefusedError:  # as it will be when it is added
                    continue
                found.update(runs[message.run])
        for series in definitions.series:
            if series.sub_run and series.run in runs:
                try:
                    found.update(_beneath(runs[series.run], series.sub_run))
                except RefusedError:
                    continue
        return found

    def resolve(self, paths: Mapping[str, str]) -> None:
        """Notes where directories lie, links resolved; others lie where their names say."""
        self._links = {name: path for name, path in paths.items() if name != path}

    def to_purge(
        self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]
    ) -> dict[int, str]:
        """Where runs lie that are to be added and purge what they hold, by number.

        As of the last look; ``logdirs`` is as for ``Schema.define``.
        """
        paths = {}
        for message in definitions.runs:
            logdir = logdirs[message.logdir]
            if message.HasField("purge_step") and message.run not in self._runs:
                with contextlib.suppress(RefusedError):  # as it will be when it is added
                    if isinstance(logdir, str):
                        paths[message.run] = self._follow(self._of(message, logdir)).own
        return paths

    def found(self, sub_runs: Mapping[int, list[str]]) -> None:
        """Notes which sub-runs the disk has of runs that ``to_purge`` told; ``""`` is the run."""
        self._found = dict(sub_runs)

    def take_found(self, number: int) -> list[str]:
        """Returns the sub-runs that were found of a run which was added, once."""
        sub_runs = self._found.pop(number, [])
        for sub_run in sub_runs:
            path = names.sub_run_path(self._runs[number].own, sub_run)
            self._links[path] = names.sub_run_path(self._resolved[number].own, sub_run)
        return sub_runs

    def levels(self, number: int, path: str) -> int:
        """How many levels ``path`` is beneath the own directory of a run; 0 if it is not."""
        above = self._resolved[number].own.rstrip("/") + "/"
        return path[len(above) :].count("/") + 1 if path.startswith(above) else 0

    def _of(self, message: pb.RunDefinition, logdir: str) -> RunDirectories:
        group = names.run_path(logdir, message.name)
        own = names.rank_path(group, message.rank, message.world_size, self._hostname, self._pid)
        return RunDirectories(own, group)

    def _follow(self, named: RunDirectories) -> RunDirectories:
        return RunDirectories(*(self._links.get(path, path) for path in named))


def _beneath(directories: RunDirectories, sub_run: str) -> RunDirectories:
    return RunDirectories(*(names.sub_run_path(path, sub_run) for path in directories))
