"""When the sender's thread looks for work.

Trainers do not wake it for each record: it looks every ``SEND_INTERVAL_SECS``, and
sooner when enough has gathered or somebody waits. While nothing is logged it looks every
``QUIET_INTERVAL_SECS``, and the next record ends that wait.
"""

from __future__ import annotations

import time
from typing import Final

from boardd_client.transport.wakeup import Wakeup

#: A record is sent at the latest this long after it was logged, if nothing is in the way.
SEND_INTERVAL_SECS: Final = 0.1
LEAST_INTERVAL_SECS: Final = 0.02
QUIET_INTERVAL_SECS: Final = 1.0
#: Looks with nothing to do before it is quiet. To wake a thread costs the call that logs up to
#: a third of a millisecond, which only a call after a pause may take.
_LOOKS_UNTIL_QUIET: Final = 20
#: Between sends that nobody waits for: many small batches cost more than few large ones.
_BACKLOG_INTERVAL_SECS: Final = 0.05
#: From a nudge to the send: what a step logs next goes with it.
_GATHER_SECS: Final = 0.005


class Pace:
    """See the module. One thread waits; any may call the rest, also in a signal handler."""

    def __init__(self) -> None:
        self.is_stopping = False
        #: When this many records wait, the thread looks early; 0 turns this off.
        self.backlog_records = 0
        self._interval_secs = SEND_INTERVAL_SECS
        self._wakeup = Wakeup()
        self._is_urgent = False
        self._last_round = 0.0
        self._idle_looks = 0

    def quicken(self, *, max_queue: int, flush_secs: float) -> None:
        """Looks sooner than usual, as the most impatient writer wishes.

        ``flush_secs`` is the interval, 0.02 s at least. ``max_queue`` is how many
        records may wait; 0 turns this off.
        """
        self._interval_secs = max(LEAST_INTERVAL_SECS, min(self._interval_secs, flush_secs))
        if max_queue:
            self.backlog_records = min(self.backlog_records or max_queue, max_queue)

    def wake(self) -> None:
        """Ends the wait at once: somebody waits."""
        self._is_urgent = True
        self._wakeup.ring()

    def nudge(self) -> None:
        """Ends the wait soon: enough has gathered."""
        self._wakeup.ring()

    def stop(self) -> None:
        """Ends the wait at once, and all work."""
        self.is_stopping = True
        self.wake()

    def looked(self, *, is_idle: bool) -> bool:
        """Notes whether there was nothing to do. Returns whether it is quiet by now."""
        self._idle_looks = self._idle_looks + 1 if is_idle else 0
        return self._idle_looks >= _LOOKS_UNTIL_QUIET

    def wait(self, *, is_quiet: bool = False) -> bool:
        """Waits until it is time to look; returns whether somebody waits for that.

        ``is_quiet`` says that the next record nudges.
        """
        is_nudged = self._wakeup.wait(QUIET_INTERVAL_SECS if is_quiet else self._interval_secs)
        interval_secs = min(self._interval_secs, _BACKLOG_INTERVAL_SECS)
        pause_secs = self._last_round + interval_secs - time.monotonic()
        if pause_secs > 0 and not self._is_urgent:
            time.sleep(pause_secs)
        elif is_nudged and self._last_round:  # the first round is to come at once
            self._gather()
        is_urgent, self._is_urgent = self._is_urgent, False
        self._last_round = time.monotonic()
        return is_urgent

    def _gather(self) -> None:
        """Waits for a moment, unless somebody waits."""
        until = time.monotonic() + _GATHER_SECS
        while not self._is_urgent and (pause_secs := until - time.monotonic()) > 0:
            self._wakeup.wait(pause_secs)
