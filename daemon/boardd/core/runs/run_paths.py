"""Where the runs of one session lie: their directories, and those of their sub-runs.

A directory has one name here however many lead to it, so that it has one writer: links
in a path are resolved by whoever may look at the disk, before the run is defined.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        #: Where names lead that lead elsewhere.
        self._links: dict[str, str] = {}

    def add(self, message: pb.RunDefinition, logdir: str) -> None:
        """Adds a run beneath ``logdir``. Raises ``RefusedError`` if its names cannot be."""
        self._runs[message.run] = self._of(message, logdir)

    def remove(self, number: int) -> None:
        """Forgets a run."""
        path = self._runs.pop(number, ("", ""))[0]
        # A sub-run's link is kept while another of the directory's runs may use it.
        if path and all(path != other for other, _ in self._runs.values()):
            below = f"{path}/"
            for name in [name for name in self._links if name == path or name.startswith(below)]:
                del self._links[name]

    def of_run(self, number: int) -> tuple[str, str]:
        """The directory of a run that was added, and the one that its ranks share."""
        return self._resolved(self._runs[number])

    def of_sub_run(self, number: int, sub_run: str) -> tuple[str, str]:
        """The same of a sub-run. Raises ``RefusedError`` if its name cannot be."""
        path, group = self._runs[number]
        return self._resolved(
            (names.sub_run_path(path, sub_run), names.sub_run_path(group, sub_run))
        )

    def unresolved(
        self, definitions: pb.Definitions, logdirs: Mapping[str, str | Refusal]
    ) -> set[str]:
        """The directories that ``definitions`` name, to be looked up for ``resolve``.

        ``logdirs`` is as for ``Schema.define``.
        """
        found = set()
        runs = dict(self._runs)
        for message in definitions.runs:
            logdir = logdirs[message.logdir]
            if message.run not in runs and isinstance(logdir, str):
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
        """Notes where directories lie, links resolved."""
        self._links.update({name: path for name, path in paths.items() if name != path})

    def _of(self, message: pb.RunDefinition, logdir: str) -> tuple[str, str]:
        group = names.run_path(logdir, message.name)
        path = names.rank_path(group, message.rank, message.world_size, self._hostname, self._pid)
        return path, group

    def _resolved(self, paths: tuple[str, str]) -> tuple[str, str]:
        path, group = paths
        return self._links.get(path, path), group
