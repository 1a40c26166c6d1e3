"""Where the runs of one session lie: their directories, and those of their sub-runs.

A directory has one name here however many lead to it, so that it has one writer: links
in a path are resolved by whoever may look at the disk, before the run is defined.
"""

from __future__ import annotations

import contextlib
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
        #: Of runs that are to be added, the sub-runs that the disk has of them, by number.
        self._found: dict[int, list[str]] = {}

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
                        path, _ = self._of(message, logdir)
                        paths[message.run] = self._links.get(path, path)
        return paths

    def found(self, sub_runs: Mapping[int, list[str]]) -> None:
        """Notes which sub-runs the disk has of runs that ``to_purge`` told; ``""`` is the run."""
        self._found = dict(sub_runs)

    def take_found(self, number: int) -> list[str]:
        """Returns the sub-runs that were found of a run which was added, once."""
        sub_runs = self._found.pop(number, [])
        for sub_run in sub_runs:
            path = names.sub_run_path(self._runs[number][0], sub_run)
            self._links[path] = names.sub_run_path(self._resolved[number], sub_run)
        return sub_runs

    def levels(self, number: int, path: str) -> int:
        """How many levels ``path`` is beneath the directory of a run; 0 if it is not."""
        above = self._resolved[number].rstrip("/") + "/"
        return path[len(above) :].count("/") + 1 if path.startswith(above) else 0

    def _of(self, message: pb.RunDefinition, logdir: str) -> tuple[str, str]:
        group = names.run_path(logdir, message.name)
        path = names.rank_path(group, message.rank, message.world_size, self._hostname, self._pid)
        return path, group
