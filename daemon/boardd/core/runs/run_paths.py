"""Where the runs of one session lie: their directories, and those of their sub-runs.

A directory has one name here however many lead to it, so that it has one writer: links
in a path are resolved by whoever may look at the disk, before the run is defined.
"""

from __future__ import annotations

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

    def _of(self, message: pb.RunDefinition, logdir: str) -> RunDirectories:
        group = names.run_path(logdir, message.name)
        own = names.rank_path(group, message.rank, message.world_size, self._hostname, self._pid)
        return RunDirectories(own, group)

    def _follow(self, named: RunDirectories) -> RunDirectories:
        return RunDirectories(*(self._links.get(path, path) for path in named))


def _beneath(directories: RunDirectories, sub_run: str) -> RunDirectories:
    return RunDirectories(*(names.sub_run_path(path, sub_run) for path in directories))
