"""What a host rejects of a run whose points another daemon makes, to be told there."""

from __future__ import annotations

import math
import os
from typing import Final

from boardd_protos.reasons import reason_name

from boardd.core.groups.entries import Dropped
from boardd.core.runs.marks import KEY_BYTES
from boardd.core.runs.run_state import RunState

#: Between two entries of the journal that tell of rejections.
TELL_SECS: Final = 1.0


class HostRejections:
    """Of the run whose journal is ``run``. The client is told of each by itself."""

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._source = os.urandom(KEY_BYTES)  # the counts begin anew with each life of the run
        self._told = 0
        self._told_at = -math.inf

    @property
    def are_untold(self) -> bool:
        """Whether there are any that ``take`` has not returned."""
        return sum(self._run.progress.rejected.values()) > self._told

    def are_due(self, now: float) -> bool:
        """Whether to call ``take`` now: once a second, and at once when nobody logs any more."""
        is_time = now >= self._told_at + TELL_SECS or not self._run.holders
        return is_time and self.are_untold

    def take(self, now: float, step: int, wall_time: float) -> Dropped:
        """Returns all of them by now, told at ``step``."""
        rejected = dict(self._run.progress.rejected)
        self._told, self._told_at = sum(rejected.values()), now
        records = {
            f"rejected_{reason_name(reason).lower()}": count for reason, count in rejected.items()
        }
        return Dropped(self._source, records, step, wall_time)
