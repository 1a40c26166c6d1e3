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

    def warn(self, part: RunPart, message: str) -> None:
        """Whoever logged ``part``, which is not back yet, is to be warned."""

    def refuse(self, run: RunState) -> None:
        """``run`` cannot be written; ``run.refusal`` says why."""


class GroupOutcomes(Protocol):
    """Where the parts come back to that a group made; called on the event loop."""

    def returned(self, part: RunPart, reason: int = 0, message: str = "") -> None:
        """A part is written, or is not for a ``reason``, a ``Reason``."""

    def recharged(self, part: RunPart, size_bytes: int) -> None:
        """A part now holds ``size_bytes``."""


class SortedOutcomes:
    """``Outcomes`` that give groups their own parts back, and all else to ``others``.

    Parts of a group that was forgotten are nobody's.
    """

    def __init__(self, others: Outcomes) -> None:
        self._others = others
        self._groups: dict[bytes, GroupOutcomes] = {}

    def register(self, group_id: bytes, outcomes: GroupOutcomes) -> None:
        """Parts of the group ``group_id`` go to ``outcomes`` from now on."""
        self._groups[group_id] = outcomes

    def forget(self, outcomes: GroupOutcomes) -> None:
        """No part goes to ``outcomes`` any more."""
        self._groups = {key: one for key, one in self._groups.items() if one is not outcomes}

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        """See ``Outcomes``."""
        if part.group:
            self._give_back(part)
        else:
            self._others.finish(part, written_bytes, duplicates)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """See ``Outcomes``."""
        if part.group:
            self._give_back(part, reason, message)
        else:
            self._others.reject(part, reason, message)

    def _give_back(self, part: RunPart, reason: int = 0, message: str = "") -> None:
        if part.group in self._groups:
            self._groups[part.group].returned(part, reason, message)
        else:
            part.run.pending -= part.records

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """See ``Outcomes``."""
        if part.group:
            if part.group in self._groups:
                self._groups[part.group].recharged(part, size_bytes)
        else:
            self._others.recharge(part, size_bytes)

    def warn(self, part: RunPart, message: str) -> None:
        """See ``Outcomes``. A group has nobody to warn."""
        if not part.group:
            self._others.warn(part, message)

    def refuse(self, run: RunState) -> None:
        """See ``Outcomes``."""
        self._others.refuse(run)
