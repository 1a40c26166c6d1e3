"""The open journal of a group whose points another daemon makes, as a task uses it."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from boardd.core.refusals import Refusal, RefusedError
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.groups.forwarder import Forwarder
from boardd.runs.groups.group_log import RELEASE_SECS, GroupLog
from boardd.runs.groups.group_recorder import GroupRecorder
from boardd.runs.groups.group_replica import GroupReplica
from boardd.runs.groups.host_rejections import HostRejections
from boardd.runs.journal.journal_claim import ClaimGoneError
from boardd.runs.writing.group_work import AnyWork, LossWork, Outcome

_logger = logging.getLogger(__name__)

#: Between two looks at how long the journal is.
MEASURE_SECS: Final = 1.0


class ForwardLog(GroupLog):
    """For one task on the event loop. What is recorded goes to ``forwarder``."""

    def __init__(self, files: RunFiles, recorder: GroupRecorder, forwarder: Forwarder) -> None:
        super().__init__(files, recorder, forwarder, _no_sync, lambda group_id: None)
        self._forwarder = forwarder
        self._rejections = HostRejections(recorder.run)
        #: Of the group that is passed on.
        self._started: GroupReplica | None = None
        self._looked = 0.0
        self._measured_at = -math.inf

    @property
    def is_settled(self) -> bool:
        """Whether the aggregator has all that is recorded, and is told of what was rejected."""
        return self._forwarder.has_passed_all and not self._has_untold

    @property
    def can_catch_up(self) -> bool:
        """Whether it is time to tell of what was rejected here. There are no points here."""
        return self._has_untold and self._rejections.are_due(asyncio.get_running_loop().time())

    @property
    def _has_untold(self) -> bool:
        return bool(self.group.group_id) and self._rejections.are_untold

    async def catch_up(self) -> None:
        """Tells of what was rejected here, behind what was logged until now."""
        now, step = asyncio.get_running_loop().time(), self.group.highest_step
        await super().record(
            [LossWork(self._rejections.take(now, step, time.time()))], is_brief=True
        )
        await self.emit()

    async def emit(self) -> None:
        """Hands on what is recorded."""
        recorder = self._recorder
        recorder.take_emission()
        group_id = recorder.replica.group_id
        if not group_id:
            return
        if self._started is not recorder.replica:
            self._started = recorder.replica
            self._forwarder.restart(group_id, Path(recorder.run.path), recorder.claim)
        self._forwarder.advance(recorder.entries)

    async def record(self, works: Sequence[AnyWork], *, is_brief: bool) -> list[Outcome] | None:
        """See ``GroupLog``; waits while the journals of this host hold all that they may."""
        while works and await self._is_full():
            forwarding = self._forwarder.forwarding
            error = f"{forwarding.max_bytes} bytes wait to be passed on to {forwarding.where}"
            await self.files.wait_out(OSError(errno.EDQUOT, f"{error} (--max-forward-bytes)"))
            await self.release(asyncio.get_running_loop().time())
        return await super().record(works, is_brief=is_brief)

    async def _is_full(self) -> bool:
        """Whether there is no room in the journals of all groups that are passed on."""
        forwarding, path = self._forwarder.forwarding, self._recorder.run.path
        now = asyncio.get_running_loop().time()
        if now >= self._measured_at + MEASURE_SECS or forwarding.is_full:
            self._measured_at = now
            size_bytes = 0
            if not self._forwarder.has_passed_all:
                size_bytes = await self.files.on_thread(self._recorder.size_bytes)
            forwarding.held_bytes[path] = size_bytes
            self._recorder.run.progress.group.backlog_bytes = size_bytes
        return forwarding.is_full

    async def release(self, now: float) -> None:
        """Removes segments of the journal that the aggregator has written."""
        if now < self._looked + RELEASE_SECS:
            return
        self._looked = now
        passed = self._forwarder.passed
        try:
            await self.files.on_thread(self._recorder.check_claim)
            await self.files.on_thread(lambda: self._recorder.remove(self._recorder.passed(passed)))
        except RefusedError as error:
            self.lose(error.refusal)
            return
        except ClaimGoneError:
            await self.files.close()
            await self.files.open()
            return
        except OSError as error:
            _logger.warning("the journal of a group cannot be shortened: %s", error)
        self._measured_at = -math.inf
        await self._is_full()

    def lose(self, refusal: Refusal) -> None:
        """See ``GroupLog``. The other daemon forwards what is in the journal."""
        self._forwarder.stop()
        super().lose(refusal)

    def abandon(self) -> None:
        """Stops without waiting."""
        super().abandon()
        self._forwarder.stop()


async def _no_sync(runs: object) -> SyncResult:
    return SyncResult(ok=True)
