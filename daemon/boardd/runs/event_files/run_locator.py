"""Finds out where the directories that clients name lie, before they are opened."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Final, TypeVar

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import Refusal, RefusedError
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.mount_check import check_same_directory
from boardd.runs.event_files.curves import curves_in

#: Seconds that a file system may take to say where a path leads. After that the path is
#: taken as it is written: opening the run is another call, which may hang by itself.
PATIENCE_SECS: Final = 2.0

_Found = TypeVar("_Found")


class RunLocator:
    """Looks at the disk on ``threads``; for the event loop's thread.

    A disk that hangs holds a client up for ``patience_secs`` and no longer.
    """

    def __init__(
        self, roots: Roots, threads: Executor, patience_secs: float = PATIENCE_SECS
    ) -> None:
        self._roots = roots
        self._threads = threads
        self._patience_secs = patience_secs

    async def logdirs(self, wanted: Mapping[str, pb.RunDefinition]) -> dict[str, str | Refusal]:
        """The directory of each logdir, links resolved, or why it is refused.

        Each comes with a definition of a run in it.
        """
        return await self._patiently(lambda: self._resolve(wanted), lambda: self._written(wanted))

    async def paths(self, names: Iterable[str]) -> dict[str, str]:
        """Where absolute paths lead; what leads out of the roots, or nowhere, is left out."""
        return await self._patiently(lambda: self._follow(names), dict)

    async def curves(self, runs: Mapping[int, str]) -> dict[int, list[str]]:
        """What is to be purged with each of ``runs``, directories by number; see ``curves_in``."""
        return await self._patiently(
            lambda: {number: curves_in(path) for number, path in runs.items()}, dict
        )

    async def _patiently(self, find: Callable[[], _Found], instead: Callable[[], _Found]) -> _Found:
        finding = asyncio.get_running_loop().run_in_executor(self._threads, find)
        try:
            return await asyncio.wait_for(asyncio.shield(finding), self._patience_secs)
        except (TimeoutError, asyncio.TimeoutError):
            return instead()

    def _resolve(self, wanted: Mapping[str, pb.RunDefinition]) -> dict[str, str | Refusal]:
        resolved: dict[str, str | Refusal] = {}
        for logdir, run in wanted.items():
            try:
                resolved[logdir] = os.fspath(self._roots.resolve(logdir))
                if run.HasField("ancestor"):
                    check_same_directory(logdir, run.ancestor)
            except RefusedError as error:
                resolved[logdir] = error.refusal
        return resolved

    def _written(self, wanted: Iterable[str]) -> dict[str, str | Refusal]:
        written: dict[str, str | Refusal] = {}
        for logdir in wanted:
            try:
                written[logdir] = os.fspath(self._roots.as_written(logdir))
            except RefusedError as error:
                written[logdir] = error.refusal
        return written

    def _follow(self, names: Iterable[str]) -> dict[str, str]:
        found = {}
        for name in names:
            try:
                found[name] = os.fspath(self._roots.resolve(name))
            except RefusedError:  # it is refused again, and with the reason, when it is opened
                continue
        return found
