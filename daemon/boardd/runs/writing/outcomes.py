"""Where parts come back to that were written or cannot be: a client's session, or a group."""

from __future__ import annotations

from typing import Protocol

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart


class Outcomes(Protocol):
    """Where parts and runs come back to; called on the event loop."""

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        """The events of ``part`` are written, those of ``duplicates`` records before."""

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """``part`` cannot be written."""

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """``part`` now holds ``size_bytes``."""

    def refuse(self, run: RunState) -> None:
        """``run`` cannot be written; ``run.refusal`` says why."""


class GroupOutcomes(Protocol):
    """Where the parts come back to that a group made; called on the event loop."""

    def returned(self, part: RunPart, reason: int = 0, message: str = "") -> None:
        """A part is written, or is not for a ``reason``, a ``Reason``."""

    def recharged(self, part: RunPart, size_bytes: int) -> None:
        """A part now holds ``size_bytes``."""


class SortedOutcomes:
    """``Outcomes`` that give groups their own parts back, and all else to ``others``."""

    def __init__(self, others: Outcomes) -> None:
        self._others = others
        self.groups: dict[bytes, GroupOutcomes] = {}

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        """See ``Outcomes``."""
        if part.group:
            self.groups[part.group].returned(part)
        else:
            self._others.finish(part, written_bytes, duplicates)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """See ``Outcomes``."""
        if part.group:
            self.groups[part.group].returned(part, reason, message)
        else:
            self._others.reject(part, reason, message)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """See ``Outcomes``."""
        if part.group:
            self.groups[part.group].recharged(part, size_bytes)
        else:
            self._others.recharge(part, size_bytes)

    def refuse(self, run: RunState) -> None:
        """See ``Outcomes``."""
        self._others.refuse(run)
