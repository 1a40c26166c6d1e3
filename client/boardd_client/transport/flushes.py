"""``flush`` of one run: what it waits for, for how long, and what it says."""

from __future__ import annotations

import logging
import time
from typing import Final

from boardd_protos.printable import counted

from boardd_client.memory.drop_reason import DropReason
from boardd_client.session.flush_result import FlushResult
from boardd_client.session.schema import DefinedRun
from boardd_client.transport.sender import Sender

_logger = logging.getLogger("boardd_client")

#: How long a flush waits that is given no timeout.
FLUSH_SECS: Final = 1.0


class Flushes:
    """Flushes ``run``, which people know as ``path``. Any thread may call.

    A flush without a timeout waits for ``FLUSH_SECS`` at most. After a wait of that length in
    vain the next ones do not wait before the daemon has written what that one waited for; if it
    waited for the disk, something later.
    """

    def __init__(self, sender: Sender, run: DefinedRun, path: str) -> None:
        self.too_late = 0  #: records that were logged after the session's end
        self._sender = sender
        self._run = run
        self._path = path
        self._rejected_before = 0
        self._awaited_sequence = 0  # before it is written, no flush waits without a timeout
        self._told = ""  # why the last flush waited in vain, once that was logged

    def flush(self, timeout_secs: float | None, level: str) -> FlushResult:
        """See ``SummaryWriter.flush``; None is no timeout."""
        sender, run = self._sender, self._run
        sequence = sender.session.ring.last_sequence
        begin = time.monotonic()
        wait_secs = self._wait_secs() if timeout_secs is None else timeout_secs
        deadline = begin + wait_secs
        written = sender.wait_written(sequence, deadline, run)
        reason, waited_in_vain = "", False
        if run.refusal:
            reason = f"the daemon refuses the run: {run.refusal}"
        elif not written:
            sender.wake()
            reason, waited_in_vain = sender.why_not(run), True
            self._awaited(sequence, begin)
        elif self.too_late:
            lost = counted(self.too_late, "dropped record")
            reason = f"{lost}: {DropReason.PROCESS_ENDED.text}"
        elif run.rejected > self._rejected_before:
            count = run.rejected - self._rejected_before
            last = "" if count == 1 else ", the last"
            reason = f"{counted(count, 'rejected record')}{last}: {run.last_rejection}"
        elif level == "synced" or sender.syncs_on_flush or run.definition.sync_on_flush:
            level = "synced"
            synced = sender.sync(sequence, deadline, run)
            if not synced.ok:
                reason, waited_in_vain = synced.reason, time.monotonic() >= deadline
                self._awaited(sequence + 1, begin)
        self._rejected_before = run.rejected
        if not reason:
            self._told = ""
            return FlushResult(ok=True)
        # Who does not wait only asks, or has them sent soon: that they are not there is no news.
        if not waited_in_vain or (reason != self._told and timeout_secs != 0):
            is_trouble = timeout_secs is not None or not sender.is_starting
            _logger.log(
                logging.WARNING if is_trouble else logging.INFO,
                "boardd: %s: not %s: %s",
                self._path,
                level,
                reason,
            )
        if timeout_secs != 0:
            self._told = reason if waited_in_vain else ""
        return FlushResult(False, reason, sender.session.statistics().pending)

    def _wait_secs(self) -> float:
        is_answered = self._sender.session.done.is_written(self._run, self._awaited_sequence)
        return FLUSH_SECS if is_answered else 0.0

    def _awaited(self, sequence: int, begin: float) -> None:
        if time.monotonic() - begin >= FLUSH_SECS:
            self._awaited_sequence = sequence
