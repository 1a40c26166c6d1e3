"""The runs that are being written: a writer for each, and the threads that they share.

The event loop only moves parts between a run's writer and the threads: reductions
run in the ``ReductionPool``, files are written on ``Budgets.writers`` threads.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from boardd.core.budget import Budgets
from boardd.core.groups.limits import GroupLimits
from boardd.core.held import Held
from boardd.core.runs.run_state import Runs, RunState
from boardd.core.session.batch import RunPart
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.relay.relay import NotTakenError, UnreachableError
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.open_segments import OpenSegments
from boardd.runs.event_files.descriptors import Descriptors
from boardd.runs.event_files.run_files import RETRY_SECS, OpenFile, RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.forwarder import Forwarder, Forwarding
from boardd.runs.groups.group_writer import GroupWriter
from boardd.runs.groups.groups import Groups, has_journal
from boardd.runs.groups.open_groups import OpenGroups
from boardd.runs.sync_timer import SyncTimer
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.threads.writer_threads import WriterThreads
from boardd.runs.writing.environment import Environment
from boardd.runs.writing.outcomes import Outcomes, SortedOutcomes
from boardd.runs.writing.reduction_notes import ReductionNotes
from boardd.runs.writing.reduction_pool import ReductionPool
from boardd.runs.writing.run_writer import RunWriter


class RunTable:
    """Writes the parts that it is given, each run in its order.

    Made, used and closed on the event loop's thread. ``outcomes`` is told what
    becomes of each part. ``retry_secs`` lie between two tries of what the disk refused.
    ``sync`` holds for every run, besides what its members ask for. ``runs`` are those of all
    sessions, and groups find theirs among them; ``limits`` say how long groups wait.
    """

    def __init__(
        self,
        budgets: Budgets,
        roots: Roots,
        outcomes: Outcomes,
        retry_secs: float = RETRY_SECS,
        sync: SyncPolicy = NEVER,
        runs: Runs | None = None,
        limits: GroupLimits | None = None,
    ) -> None:
        self._sync = sync
        self._sync_timer = SyncTimer(self._sync_by_time)
        self._roots = roots
        self._outcomes = SortedOutcomes(outcomes)
        self._groups = Groups(
            Runs(budgets) if runs is None else runs,
            limits or GroupLimits(),
            self._outcomes,
            self.admit,
            self.sync,
        )
        self._retry_secs = retry_secs
        self._reductions = ReductionPool(
            budgets.reducers,
            budgets.max_tensor_bytes,
            budgets.reduction_bytes,
            budgets.intake_bytes,
        )
        self._brief_calls = BriefCalls(WriterThreads(budgets.writers), budgets.writers)
        #: How long reductions, writes and syncs take.
        self.timings = replace(roots.timings, reduction=self._reductions.durations)
        self._descriptors = Descriptors()
        self._writers: dict[RunState, RunWriter | GroupWriter] = {}
        self._is_closed = False

    def held(self) -> Iterator[Held]:
        """What is held of the budgets of reductions, files, threads, groups and the spool."""
        yield from self._reductions.held()
        yield self._descriptors.held()
        yield from self._groups.held()
        if self._roots.spool is not None:
            yield from self._roots.spool.held()
        yield from self.threads.held(self._brief_calls.waiting)

    @property
    def threads(self) -> WriterThreads:
        """The threads for all that touches the file system."""
        return self._brief_calls.threads

    @property
    def environment(self) -> Environment:
        """Whether all that the writers need can be loaded."""
        return self._reductions.environment

    def open(self, run: RunState) -> None:
        """Begins to open the directory of ``run``, so that a refusal comes early."""
        if not self._is_closed:
            writer = self._writer_of(run)
            if isinstance(writer, GroupWriter):
                writer.note_members()

    def admit(self, parts: Iterable[RunPart]) -> None:
        """Takes parts, in the call order of their sessions. After ``close`` they are dropped."""
        if self._is_closed:
            return
        by_run: dict[RunState, list[RunPart]] = {}
        for part in parts:
            by_run.setdefault(part.run, []).append(part)
        for run, own in by_run.items():
            self._writer_of(run).admit(*own)

    @property
    def groups(self) -> Groups:
        """The groups that are not over."""
        return self._groups

    async def resume_groups(self, noted: OpenGroups) -> None:
        """Goes on with the groups that an earlier daemon left open; notes them from now on."""
        loop = asyncio.get_running_loop()
        for directory in await loop.run_in_executor(self.threads, noted.read):
            is_there = functools.partial(has_journal, self._roots, directory)
            if await loop.run_in_executor(self.threads, is_there) and not self._is_closed:
                self.open(self._groups.run_of(directory))
        self._groups.note_in(noted, self.threads)

    async def note_reductions(self, path: Path) -> None:
        """Notes in the file at ``path`` what is being reduced; see ``ReductionNotes``."""
        loop = asyncio.get_running_loop()
        self._reductions.notes = await loop.run_in_executor(self.threads, ReductionNotes, path)

    def end_notes(self) -> None:
        """Notes that nothing is being reduced any more, though it may be: it did no harm."""
        if self._reductions.notes is not None:
            self._reductions.notes.close()

    def forward(self, forwarding: Forwarding) -> None:
        """Passes the groups on to another daemon. To be called before the first is opened."""
        self._groups.forwarding = forwarding
        self._groups.forward_to = lambda run, wake: Forwarder(
            run, self._roots.relative(run.group), forwarding, self.threads, wake
        )

    def group_at(self, directory: str) -> GroupWriter:
        """The writer of the group that shares ``directory``. Raises errors as ``relay.Take``."""
        if self._is_closed:
            raise UnreachableError("the daemon is leaving")
        if self._groups.forward_to is not None:
            raise NotTakenError(
                "this daemon passes its own groups on to another (--forward-to): forward to that"
            )
        writer = self._writer_of(self._groups.run_of(directory, is_needed=False))
        if not isinstance(writer, GroupWriter):
            raise TypeError(f"no group is at {directory}")
        return writer

    def policy(self, run: RunState) -> SyncPolicy:
        """When ``run`` is made durable."""
        return self._sync.stricter(run.sync)

    async def sync(self, runs: Iterable[RunState], session_id: bytes) -> SyncResult:
        """Waits until all that was admitted to ``runs`` is durable. Returns whether it is.

        A failure that the session was not told of yet is one of this sync: of a sync by time,
        of one that another session asked for, or of that with which a file was closed.
        """
        runs = list(dict.fromkeys(runs))
        waiting = [self._writers[run].sync() for run in runs if run in self._writers]
        results = await asyncio.gather(*waiting)
        for run in runs:
            if failure := run.progress.sync_failures.tell(session_id):
                results.append(SyncResult(ok=False, reason=failure))
        return SyncResult.of_all(results)

    async def _sync_by_time(self, run: RunState) -> None:
        writer = self._writers.get(run)
        if writer is not None and not self._is_closed:
            await writer.sync()
            segments = self._segments(run)
            if segments is not None and segments.is_begun:  # to be closed another time
                self._wrote(run)

    def _wrote(self, run: RunState) -> None:
        if run in self._sync_timer:
            return
        policy = self.policy(run)
        if self._roots.spool is not None and self._segments(run) is not None:
            policy = policy.stricter(SyncPolicy(self._roots.spool.ship_secs))
        if policy.secs:
            self._sync_timer.wrote(run, policy.secs)

    def _segments(self, run: RunState) -> OpenSegments | None:
        """Of a run whose files are shipped; a journal is not."""
        if self._roots.spool is None or run.is_merged:
            return None
        return self._roots.spool.segments_at(run.path)

    async def close(self) -> None:
        """Leaves, whatever is still open: gives up what is not written by now.

        A thread that hangs in the file system is left behind.
        """
        self._is_closed = True
        self._groups.close()
        self._sync_timer.close()
        tasks = [writer.task for writer in self._writers.values()]
        for writer in list(self._writers.values()):
            writer.abandon()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self._brief_calls.close()
        self._reductions.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _writer_of(self, run: RunState) -> RunWriter | GroupWriter:
        writer = self._writers.get(run)
        if writer is None:
            writer = self._writers[run] = (
                self._groups.writer_of(run, self._files, self._reductions, self._forget)
                if run.is_merged
                else RunWriter(
                    run, self._files(run), self._outcomes, self._reductions, self._forget
                )
            )
        return writer

    def _files(self, run: RunState, open_file: OpenFile | None = None) -> RunFiles:
        return RunFiles(
            run,
            self._roots,
            self.threads.of(lambda: run.owner),
            self._brief_calls,
            self._outcomes.refuse,
            self._retry_secs,
            self._wrote,
            self._descriptors,
            open_file,
        )

    def _forget(self, writer: RunWriter | GroupWriter) -> None:
        if isinstance(writer, GroupWriter):
            self._groups.forget(writer)
        if self._writers.get(writer.run) is writer:
            del self._writers[writer.run]
