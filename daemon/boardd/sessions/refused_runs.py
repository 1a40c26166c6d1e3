"""Runs that were refused lately: kept for the daemon's status, and told in its log.

A client is told itself, but who looks for its curves may look here.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from boardd_protos.reasons import reason_name

from boardd.core.runs.defined_runs import RunRefusal
from boardd.core.session.session import Session

_logger = logging.getLogger(__name__)

#: Kept at most, the latest.
MAX_REFUSED_RUNS: Final = 64


@dataclass
class RefusedRun:
    """A run, as its client named it, or a sub-run of it, and the last refusal of it."""

    path: str
    reason: int  #: a ``Reason``
    message: str
    program: str
    refused_at: float  #: seconds since the epoch
    times: int  #: how often it was refused, by each session and after each reconnection


class RefusedRuns:
    """See the module. For the event loop's thread."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, int], RefusedRun] = OrderedDict()

    def __iter__(self) -> Iterator[RefusedRun]:
        """Yields the latest last."""
        return iter(list(self._runs.values()))

    def note(self, session: Session, refusals: Sequence[RunRefusal]) -> None:
        """Runs of ``session`` are refused. Logs the first that is not kept for the same reason."""
        news = [
            found for one in refusals[-MAX_REFUSED_RUNS:] if (found := self._keep(session, one))
        ]
        if news:
            more = f" (and {len(refusals) - 1:,} more)" if len(refusals) > 1 else ""
            _logger.warning(
                "run %s of %s (pid %d on %s) is refused%s: %s: %s",
                news[0].path,
                session.client.program,
                session.client.pid,
                session.client.hostname,
                more,
                reason_name(news[0].reason),
                news[0].message,
            )

    def _keep(self, session: Session, told: RunRefusal) -> RefusedRun | None:
        """Returns the run if it is news."""
        path = session.schema.name_of(told.run, told.sub_run)
        reason, message = told.refusal.reason, told.refusal.message
        known = self._runs.pop((path, reason), None)
        times = 1 if known is None else known.times + 1
        run = RefusedRun(path, reason, message, session.client.program, time.time(), times)
        self._runs[path, reason] = run
        if len(self._runs) > MAX_REFUSED_RUNS:
            self._runs.popitem(last=False)
        return run if known is None else None
