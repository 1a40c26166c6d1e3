"""Where the runs of one session lie: their directories, and those of their sub-runs.

A directory has one name here however many lead to it, so that it has one writer: links
in a path are resolved by whoever may look at the disk, before the run is defined.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs import names


class RunPaths:
    """Paths by the session's number of a run."""

    def __init__(self, hostname: str, pid: int) -> None:
        self._hostname = hostname
        self._pid = pid
        #: The path of each run and of the directory that its ranks share, as they were named.
        self._runs: dict[int, tuple[str, str]] = {}
        #: Where the path of each run led when it was added: a run that is open does not move.
        self._resolved: dict[int, str] = {}
        #: Where names led at the last look, if they lead elsewhere.
        self._links: dict[str, str] = {}

    def add(self, message: pb.RunDefinition, logdir: str) -> None:
        """Adds a run beneath ``logdir``. Raises ``RefusedError`` if its names cannot be."""
        path, group = self._of(message, logdir)
        self._runs[message.run] = path, group
        self._resolved[message.run] = self._links.get(path, path)

    def remove(self, number: int) -> None:
        """Forgets a run."""
        self._runs.pop(number, None)
        self._resolved.pop(number, None)

    def of_run(self, number: int) -> tuple[str, str]:
        """The directory of a run that was added, and the one that its ranks share."""
        return self._resolved[number], self._runs[number][1]

    def of_sub_run(self, number: int, sub_run: str) -> tuple[str, str]:
        """The same of a sub-run, as of the last look. Raises ``RefusedError`` for a bad name."""
        path, group = self._runs[number]
        path = names.sub_run_path(path, sub_run)
        return self._links.get(path, path), names.sub_run_path(group, sub_run)

    def unresolved(
        self,
        definitions: pb.Definitions,
        logdirs: Mapping[str, str | Refusal],
        passed_over: Container[int] = (),
    ) -> set[str]:
        """The directories that ``definitions`` name, to be looked up for ``resolve``.

        ``logdirs`` is as for ``Schema.define``. Runs of the numbers ``passed_over`` are not added.
        """
        found = set()
        runs = dict(self._runs)
        for message in definitions.runs:
            logdir = logdirs[message.logdir]
            is_new = message.run not in runs and message.run not in passed_over
            if is_new and isinstance(logdir, str):
                try:
                    runs[message.run] = self._of(message, logdir)
                except RefusedError:  # as it will be when it is added
                    continue
                found.add(runs[message.run][0])
        for series in definitions.series:
            if series.sub_run and series.run in runs:
                try:
                    found.add(names.sub_run_path(runs[series.run][0], series.sub_run))
                except RefusedError:
                    continue
        return found

    def resolve(self, paths: Mapping[str, str]) -> None:
        """Notes where directories lie, links resolved; others lie where their names say."""
        self._links = {name: path for name, path in paths.items() if name != path}

    def _of(self, message: pb.RunDefinition, logdir: str) -> tuple[str, str]:
        group = names.run_path(logdir, message.name)
        path = names.rank_path(group, message.rank, message.world_size, self._hostname, self._pid)
        return path, group
