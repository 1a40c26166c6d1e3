"""The groups of ranks that are not over: a writer for each, made of its parts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

from boardd.core.groups.forwarded import ForwardedGroup
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from boardd.core.held import Held
from boardd.core.refusals import RefusedError
from boardd.core.runs.names import JOURNAL_DIRECTORY, journal_path
from boardd.core.runs.run_state import Runs, RunState
from boardd.core.session.batch import RunPart
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.run_files import OpenFile, RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.forward_log import ForwardLog
from boardd.runs.groups.forwarder import Forwarder, Forwarding
from boardd.runs.groups.group_log import GroupLog
from boardd.runs.groups.group_members import GroupMembers
from boardd.runs.groups.group_output import MAX_OUT_BYTES, GroupOutput
from boardd.runs.groups.group_recorder import GroupRecorder
from boardd.runs.groups.group_writer import HOLDER, NOBODY, GroupWriter
from boardd.runs.groups.open_groups import OpenGroups
from boardd.runs.writing.outcomes import SortedOutcomes
from boardd.runs.writing.reduction_pool import ReductionPool


class MakeFiles(Protocol):
    """Makes the files of a run."""

    def __call__(self, run: RunState, open_file: OpenFile | None = None) -> RunFiles:
        """``open_file`` is as for ``RunFiles``."""


class Groups:
    """The writers of groups. For the event loop's thread only.

    ``admit`` takes the parts of points to their runs among ``runs``, ``sync`` makes such
    runs durable.
    """

    def __init__(
        self,
        runs: Runs,
        limits: GroupLimits,
        outcomes: SortedOutcomes,
        admit: Callable[[Iterable[RunPart]], None],
        sync: Callable[[Iterable[RunState], bytes], Coroutine[Any, Any, SyncResult]],
    ) -> None:
        self._runs = runs
        self._limits = limits
        self._outcomes = outcomes
        self._admit = admit
        self._sync = sync
        #: Where they are passed on to, if that is another daemon.
        self.forwarding: Forwarding | None = None
        #: Makes the forwarder of a group's journal, if another daemon makes the points.
        self.forward_to: Callable[[RunState, Callable[[], None]], Forwarder] | None = None
        self._writers: dict[RunState, GroupWriter] = {}
        self._is_draining = False
        #: Directories of groups that are for the next daemon.
        self._left_open: set[str] = set()
        self._noted: OpenGroups | None = None
        self._threads: Executor | None = None

    def __len__(self) -> int:
        return len(self._writers)

    def __iter__(self) -> Iterator[GroupWriter]:
        return iter(list(self._writers.values()))

    def held(self) -> Iterator[Held]:
        """What the largest of them holds, and what is passed on."""
        open_bytes = max((writer.run.progress.group.open_bytes for writer in self), default=0)
        yield Held("max-open-bytes", open_bytes, self._limits.max_open_bytes)
        if self.forwarding is not None:
            yield self.forwarding.held()

    def run_of(self, directory: str, *, is_needed: bool = True) -> RunState:
        """The journal's run of the group whose ranks share ``directory``; as ``Runs.join``."""
        path = journal_path(directory)
        run = self._runs.join(path, directory, "", HOLDER, NOBODY, is_needed=is_needed)
        run.holders.discard(HOLDER)  # a group is over though it knows itself
        return run

    def writer_of(
        self,
        run: RunState,
        files_of: MakeFiles,
        reductions: ReductionPool,
        on_idle: Callable[[GroupWriter], None],
    ) -> GroupWriter:
        """Makes the writer of the group whose journal is ``run``."""
        log = self._log(run, files_of, lambda: writer.wake())
        members = GroupMembers(
            run, self._runs.is_absent, self._limits.join_secs, self._limits.host_secs
        )
        writer = GroupWriter(run, self._runs, log, members, self._outcomes, reductions, on_idle)
        if self._is_draining:
            writer.drain()
        self._writers[run] = writer
        self._note()
        return writer

    def _log(self, run: RunState, files_of: MakeFiles, wake: Callable[[], None]) -> GroupLog:
        if self.forward_to is not None:
            recorder = GroupRecorder(
                run, lambda: ForwardedGroup(self._limits), time.monotonic, MAX_OUT_BYTES
            )
            forwarder = self.forward_to(run, wake)
            return ForwardLog(files_of(run, recorder.open), recorder, forwarder)
        recorder = GroupRecorder(run, lambda: Group(self._limits), time.monotonic, MAX_OUT_BYTES)
        output = GroupOutput(run, self._runs, self._admit, wake, recorder.check_taken_over)
        return GroupLog(
            files_of(run, recorder.open),
            recorder,
            output,
            lambda runs: self._sync(runs, b""),
            lambda group_id: self._outcomes.register(group_id, output),
        )

    def forget(self, writer: GroupWriter) -> None:
        """A group is over, or is left to the next daemon."""
        if self._writers.get(writer.run) is writer:
            del self._writers[writer.run]
        if self._is_draining and not writer.is_over:
            self._left_open.add(writer.run.group)
        if isinstance(writer.log.output, GroupOutput):
            self._outcomes.forget(writer.log.output)
        self._note()

    def drain(self) -> None:
        """Members that are ended from now on go on with the next daemon."""
        self._is_draining = True
        for writer in self:
            writer.drain()

    async def settle(self, timeout_secs: float) -> None:
        """Waits until all points that are decided are written, or for as long as it may."""
        tasks = [writer.task for writer in self]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, timeout_secs))

    def note_in(self, noted: OpenGroups, threads: Executor) -> None:
        """Notes in a file, on ``threads``, which groups are open, from now on."""
        self._noted, self._threads = noted, threads
        self._note()

    def close(self) -> None:
        """Notes which groups stay open, and no more from now on."""
        if self._noted is not None:
            self._noted.write()  # on a tmpfs, and the threads may be gone
            self._noted = None

    def _note(self) -> None:
        if self._noted is not None and self._threads is not None:
            self._noted.note({*self._left_open, *(run.group for run in self._writers)})
            self._threads.submit(self._noted.write)


def has_journal(roots: Roots, directory: str) -> bool:
    """Whether there is the journal of a group whose ranks share ``directory``. On a thread."""
    try:
        path = roots.resolve(directory, JOURNAL_DIRECTORY)
    except RefusedError:
        return False
    return os.path.isdir(path)
