"""Rejections to be told to a client."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Characters of a message; what a client sent may be in it.
MAX_MESSAGE = 1000
#: Up to this many are told one by one; further ones are added up by reason.
MAX_REJECTIONS = 64


@dataclass(frozen=True)
class Rejection:
    """``records`` that are not written, the first at ``sequence``, the last at ``last_sequence``.

    Records in between may be written all the same.
    """

    sequence: int
    records: int
    reason: int
    message: str
    last_sequence: int


class Rejections:
    """What a client has not been told yet.

    Bounded while the client does not listen: a rejection is added to the one before if
    reason and message are the same, and past ``MAX_REJECTIONS`` if the reason is.
    """

    def __init__(self) -> None:
        self._waiting: list[Rejection] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, rejection: Rejection) -> None:
        """Adds ``rejection``, its message cut to ``MAX_MESSAGE``."""
        rejection = replace(rejection, message=rejection.message[:MAX_MESSAGE])
        for index, other in self._candidates():
            same = other.reason == rejection.reason
            if same and (self._full or other.message == rejection.message):
                self._waiting[index] = replace(
                    other,
                    sequence=min(other.sequence, rejection.sequence),
                    records=other.records + rejection.records,
                    last_sequence=max(other.last_sequence, rejection.last_sequence),
                )
                return
        self._waiting.append(rejection)

    def take(self) -> list[Rejection]:
        """Returns what was added since the last call."""
        taken, self._waiting = self._waiting, []
        return taken

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= MAX_REJECTIONS

    def _candidates(self) -> list[tuple[int, Rejection]]:
        every = list(enumerate(self._waiting))
        return every if self._full else every[-1:]
