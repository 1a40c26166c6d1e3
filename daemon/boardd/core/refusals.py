"""Why a run, a name or a map is refused: the one type for it, and its error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """What is refused stays so until something changes; ``reason`` is a ``Reason``.

    ``message`` names what is refused and says what to do about it.
    """

    reason: int
    message: str


class RefusedError(Exception):
    """Asking again is no use until something changes. Carries the ``Refusal``."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message)

    @property
    def reason(self) -> int:
        """The ``Reason`` of the wire contract."""
        return self.refusal.reason
