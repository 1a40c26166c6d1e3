"""The reductions of one group, which wait a moment for those of other ranks.

Ranks that step together log within some milliseconds of each other. To wake a thread for each
of them, and to begin a compiled call, takes longer than the histogram of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from boardd.core.session.batch import SummaryPart
from boardd.runs.writing.environment import Environment
from boardd.runs.writing.reduction_pool import Deliver, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_to_share, reduce_to_shares

#: How long a record waits for others, in seconds; and so many wait for no more.
GATHER_SECS: Final = 0.004
GATHERED_RECORDS: Final = 64


class GatheredReductions:
    """Reduces in ``pool`` what ranks contribute; ``deliver`` takes the results.

    For the event loop's thread only.
    """

    def __init__(self, pool: ReductionPool, deliver: Deliver) -> None:
        self._pool = pool
        self._deliver = deliver
        self._reducing = RunReductions(reduce_to_share, reduce_to_shares)
        self._waiting: list[tuple[int, SummaryPart]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def environment(self) -> Environment:
        """See ``ReductionPool``."""
        return self._pool.environment

    def add(self, records: Sequence[tuple[int, SummaryPart]]) -> None:
        """Takes the next records, each with its ticket."""
        self._waiting += records
        if len(self._waiting) >= GATHERED_RECORDS:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECS, self._begin)

    def written(self, size_bytes: int) -> None:
        """Notes that ``size_bytes`` of results no longer wait."""
        self._pool.written(self._reducing, size_bytes)

    def close(self) -> None:
        """Drops what waits."""
        self._waiting = []
        self._cancel_timer()

    def _begin(self) -> None:
        self._cancel_timer()
        waiting, self._waiting = self._waiting, []
        self._pool.add(self._reducing, waiting, self._deliver)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
