"""The open journal of one group and the files of its points, as a task uses them.

Trouble with the disk holds the journal up and loses nothing: see ``run_files``. Points that
there is no room for stay in the journal until those before them are written, so a run
directory that hangs holds up neither contributions nor their acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from boardd.core.groups.group import Group
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart
from boardd.events.marks import Part
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.group_output import MAX_OUT_BYTES
from boardd.runs.groups.group_points import Emission
from boardd.runs.groups.group_recorder import GroupRecorder
from boardd.runs.groups.group_replica import GroupReplica
from boardd.runs.journal.journal_claim import ClaimGoneError
from boardd.runs.writing.group_work import AnyWork, Outcome

_logger = logging.getLogger(__name__)

#: Seconds between two looks at which segments of the journal can go.
RELEASE_SECS: Final = 5.0
#: Between two notes for the status.
PROGRESS_SECS: Final = 1.0


class PointOutput(Protocol):
    """Where the points of a group go; see ``GroupOutput``."""

    @property
    def out_bytes(self) -> int:
        """Bytes on their way to the files."""
        ...

    @property
    def written(self) -> int:
        """All emissions up to this one are written."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        ...

    @property
    def runs(self) -> Sequence[RunState]:
        """The runs that were written."""
        ...

    def begin(self, group_id: bytes, first: int) -> None:
        """Emissions of a group come from ``first`` on."""
        ...

    async def emit(self, emission: Emission, names: list[bytes]) -> None:
        """Shows the next emission."""
        ...

    def tell_drops(self, part: DropPart) -> None:
        """Tells of what a client dropped."""
        ...

    def end(self) -> None:
        """Closes the files."""
        ...

    def leave(self) -> None:
        """Forgets the runs."""
        ...


class GroupLog:
    """For one task on the event loop; see the module.

    ``sync`` makes runs durable. ``on_begun`` is called when the group's id is known.
    """

    def __init__(
        self,
        files: RunFiles,
        recorder: GroupRecorder,
        output: PointOutput,
        sync: Callable[[Sequence[RunState]], Awaitable[SyncResult]],
        on_begun: Callable[[bytes], None],
    ) -> None:
        self.files = files
        self.output = output
        self._recorder = recorder
        self._sync = sync
        self._on_begun = on_begun
        #: What the output knows.
        self._replica: GroupReplica | None = None
        self._looked_at = 0.0
        self._noted_at = -math.inf
        self._releasing: asyncio.Task[None] | None = None
        self._removable: list[str] = []

    @property
    def group(self) -> Group:
        """The group, as far as it is recorded. Read it between two calls."""
        return self._recorder.replica.group

    @property
    def is_settled(self) -> bool:
        """Whether every point that was decided is written, or can never be."""
        return not self._recorder.is_behind and self.output.is_idle

    @property
    def can_catch_up(self) -> bool:
        """Whether there is room for points that were left in the journal."""
        return self._recorder.is_behind and self.output.out_bytes < MAX_OUT_BYTES // 2

    async def record(self, works: Sequence[AnyWork], *, is_brief: bool) -> list[Outcome] | None:
        """Records ``works`` and what is decided now, however long the disk takes.

        Returns what became of each; None if the journal is refused.
        """
        recorder = self._recorder
        replica = None

        def go_on() -> list[Outcome]:
            nonlocal replica
            if recorder.replica is not replica:  # marks tell what of it is recorded
                replica = recorder.replica
                recorder.begin(works)
            return recorder.go_on(self._append)

        while await self.files.open():
            recorder.room_bytes = MAX_OUT_BYTES - self.output.out_bytes
            try:
                outcomes = await self.files.on_thread(go_on, is_brief=is_brief)
            except ClaimGoneError as error:
                await self.files.close()
                await self.files.wait_out(error)
            except OSError as error:
                await self.files.wait_out(error)
            except RefusedError as error:
                self.lose(error.refusal)
            else:
                self.files.appended()
                return outcomes
        return None

    def _append(self, entries: bytes, parts: Sequence[Part]) -> None:
        self.files.append_once(entries, parts)
        claim = self._recorder.claim
        if claim is None or not claim.is_needed:
            return
        try:  # whoever takes the journal over may be on another host
            self.files.sync_once()
        except OSError as error:
            self._recorder.run.progress.note_lost(str(error))

    async def emit(self) -> None:
        """Hands on the points that are decided, as far as there is room."""
        recorder, output = self._recorder, self.output
        if self._replica is not recorder.replica:
            if not (recorder.replica.group_id and output.is_idle):
                return  # what an earlier opening handed on comes back first
            emission = recorder.take_emission()
            self._replica = recorder.replica
            first = emission.first if emission is not None else recorder.replica.last_sequence + 1
            self._on_begun(recorder.replica.group_id)
            output.begin(recorder.replica.group_id, first)
        else:
            emission = recorder.take_emission()
        if emission is not None:
            await output.emit(emission, recorder.replica.tag_names)

    async def catch_up(self) -> None:
        """Hands on points that were left in the journal."""
        self._recorder.room_bytes = MAX_OUT_BYTES - self.output.out_bytes
        try:
            await self.files.on_thread(self._recorder.catch_up)
        except OSError as error:
            await self.files.wait_out(error)
        except RefusedError as error:
            self.lose(error.refusal)
            return
        await self.emit()

    def lose(self, refusal: Refusal) -> None:
        """Another daemon has taken the journal over: nothing is written any more."""
        self.files.refuse(refusal)

    async def release(self, now: float) -> None:
        """Removes segments of the journal that nothing needs any more."""
        names, self._removable = self._removable, []
        try:
            if names:
                await self.files.on_thread(lambda: self._recorder.remove(names))
            if self._releasing is not None or now < self._looked_at + RELEASE_SECS:
                return
            self._looked_at = now
            await self.files.on_thread(self._recorder.check_claim)
            written = self.output.written
            names = await self.files.on_thread(lambda: self._recorder.released(written))
        except RefusedError as error:
            self.lose(error.refusal)
            return
        except ClaimGoneError:
            await self.files.close()
            await self.files.open()
            return
        except OSError as error:
            _logger.warning("the journal of a group cannot be shortened: %s", error)
            return
        if names:
            # Beside the task: the files of the points may take their time.
            syncing = self._make_durable(names)
            self._releasing = asyncio.get_running_loop().create_task(syncing, name="release")

    async def _make_durable(self, names: list[str]) -> None:
        result = await self._sync(self.output.runs)
        self._releasing = None
        if result.ok:
            self._removable = names

    def note_progress(self, now: float) -> None:
        """Notes for the status how the group gets along, once a second at most."""
        if now < self._noted_at + PROGRESS_SECS:
            return
        self._noted_at = now
        group, noted = self.group, self._recorder.run.progress.group
        noted.world_size, noted.ranks = group.world_size, len(group.live_ranks)
        noted.last_rank, noted.step_lag = group.last_rank()
        noted.open_points, noted.open_bytes = group.open_points, group.open_bytes
        noted.late = sum(group.late.values())
        noted.kind_conflicts = sum(self._recorder.run.contents.kind_conflicts.values())

    async def start_over(self) -> None:
        """After a defect: the group is restored from its journal."""
        self._recorder.forget()
        await self.files.close()

    def abandon(self) -> None:
        """Stops without waiting."""
        if self._releasing is not None:
            self._releasing.cancel()
