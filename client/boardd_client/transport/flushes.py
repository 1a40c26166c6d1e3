"""``flush`` of one run: what it waits for, for how long, and what it says."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Final

from boardd_protos.printable import counted

from boardd_client.memory.drop_reason import DropReason
from boardd_client.session.flush_result import FlushResult
from boardd_client.session.schema import DefinedRun
from boardd_client.transport.sender import Sender

_logger = logging.getLogger("boardd_client")

#: How long a flush waits that is given no timeout.
FLUSH_SECS: Final = 1.0
#: And how long for a disk that did not answer in that time.
ASK_SECS: Final = 0.1


class Flushes:
    """Flushes ``run``, which people know as ``path``. Any thread may call.

    A flush without a timeout waits for ``FLUSH_SECS`` at most. After a wait of that length in
    vain the next ones do not wait before the daemon has written what that one waited for. If it
    waited for the disk, the next ones ask for ``ASK_SECS`` until that is reached, or the daemon
    has written something since.
    """

    def __init__(self, sender: Sender, run: DefinedRun, path: str) -> None:
        self.too_late = 0  #: records that were logged after the session's end
        self.dropped: Counter[str] = Counter()  #: records since the last flush, by reason
        self._sender = sender
        self._run = run
        self._path = path
        self._rejected_before = self._in_part_before = 0
        self._awaited_sequence = 0  # before it is written, no flush waits without a timeout
        # What was acknowledged when a disk took too long; None once it has answered.
        self._acknowledged_unsynced: int | None = None
        self._told = ""  # why the last flush waited in vain, once that was logged

    def flush(
        self, timeout_secs: float | None, level: str, *, is_patient: bool = True
    ) -> FlushResult:
        """See ``SummaryWriter.flush``; None is no timeout.

        With one, a daemon that cannot be had so far is waited for, unless not ``is_patient``.
        """
        sender, run = self._sender, self._run
        sequence = sender.session.ring.last_sequence
        begin = time.monotonic()
        wait_secs = self._wait_secs() if timeout_secs is None else timeout_secs
        deadline = begin + wait_secs
        is_patient = is_patient and timeout_secs is not None
        written = sender.wait_written(sequence, deadline, run, patient=is_patient)
        reason, waited_in_vain = "", False
        if run.refusal:
            reason = f"the daemon refuses the run: {run.refusal}"
        elif not written:
            sender.wake()
            reason, waited_in_vain = sender.why_not(run), True
            self._awaited(sequence, begin)
        elif lost := self._lost():
            reason = lost
        elif level == "synced" or sender.syncs_on_flush or run.definition.sync_on_flush:
            level = "synced"
            if timeout_secs is None:
                deadline = self._sync_deadline(begin)
            synced = sender.sync(sequence, deadline, run, patient=is_patient)
            if synced.ok:
                self._acknowledged_unsynced = None
            else:
                reason, waited_in_vain = synced.reason, time.monotonic() >= deadline
                if time.monotonic() - begin >= FLUSH_SECS:
                    self._acknowledged_unsynced = sender.session.acknowledged_sequence
        self._rejected_before, self._in_part_before = run.rejected, run.written_in_part
        dropped, self.dropped = dict(self.dropped), Counter()
        if not reason:
            self._told = ""
            return FlushResult(ok=True, dropped=dropped)
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
        return FlushResult(False, reason, sender.session.statistics().pending, dropped)

    def _lost(self) -> str:
        """What is not written of the records that are done, and was not told before."""
        run = self._run
        rejected = run.rejected - self._rejected_before
        in_part = run.written_in_part - self._in_part_before
        if self.too_late:
            return f"{counted(self.too_late, 'dropped record')}: {DropReason.PROCESS_ENDED.text}"
        if rejected:
            last = "" if rejected == 1 else ", the last"
            return f"{counted(rejected, 'rejected record')}{last}: {run.last_rejection}"
        if in_part:
            last = "" if in_part == 1 else ", the last"
            return f"{counted(in_part, 'record')} written in part{last}: {run.last_left_out}"
        return ""

    def _wait_secs(self) -> float:
        is_answered = self._sender.session.done.is_written(self._run, self._awaited_sequence)
        return FLUSH_SECS if is_answered else 0.0

    def _sync_deadline(self, begin: float) -> float:
        """Until when to wait for the disk without a timeout."""
        if self._acknowledged_unsynced == self._sender.session.acknowledged_sequence:
            return time.monotonic() + ASK_SECS
        return begin + FLUSH_SECS

    def _awaited(self, sequence: int, begin: float) -> None:
        if time.monotonic() - begin >= FLUSH_SECS:
            self._awaited_sequence = sequence
