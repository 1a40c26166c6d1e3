"""What comes back from the run writers: parts for their sessions, refusals of runs."""

from __future__ import annotations

import logging

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart
from boardd.sessions.live_session import LiveSession
from boardd.sessions.registry import Registry

_logger = logging.getLogger(__name__)


class ReturnedParts:
    """Gives sessions their parts back; ``Outcomes`` of ``RunTable``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        """See ``Outcomes``."""
        live = self._registry.find(part.session_id)
        live.session.finish(part, written_bytes, duplicates)
        self._came_back(live)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """See ``Outcomes``."""
        live = self._registry.find(part.session_id)
        if part.is_copy and part.records and part.run.refusal is None:
            # Of a run that is refused its client is told; of this, nobody else.
            _logger.warning("run %s lacks what is merged: %s", part.run.path, message)
        live.session.reject(part, reason, message)
        self._came_back(live)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """See ``Outcomes``."""
        self._registry.find(part.session_id).session.recharge(part, size_bytes)
        self._registry.changed.notify()

    def warn(self, part: RunPart, message: str) -> None:
        """See ``Outcomes``."""
        live = self._registry.find(part.session_id)
        live.session.telling.notice(message)
        live.notice.notify()

    def refuse(self, run: RunState) -> None:
        """See ``Outcomes``."""
        for session_id in {session_id for session_id, _ in run.members}:
            live = self._registry.get(session_id)
            if live is not None:
                refusals = live.session.schema.refusals_of(run)
                for refusal in refusals:
                    live.session.telling.refuse(refusal)
                self._registry.refused_runs.note(live.session, refusals)
                live.notice.notify()

    def _came_back(self, live: LiveSession) -> None:
        live.notice.notify()
        self._registry.changed.notify()
