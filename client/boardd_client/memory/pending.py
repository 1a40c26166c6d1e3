"""Copies under way: what a framework promises of one, and one that failed before it began."""

from __future__ import annotations

from typing import Protocol

from boardd_client.errors import CaptureError


class Pending(Protocol):
    """A copy under way. Its slot must stay untouched until ``wait`` has returned."""

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""

    def wait(self) -> None:
        """Blocks, without the GIL, until the copy is complete; to be called once.

        Not for the thread that trains. Raises ``CaptureError`` when the
        framework failed to yield the values; the slot's content is then void.
        """


class PendingScalar(Protocol):
    """The value of a scalar under way, which needs no slot."""

    def is_done(self) -> bool:
        """Whether ``result`` would return at once."""

    def result(self) -> float:
        """As ``Pending.wait``, and returns the value."""


class Failed:
    """A ``Pending`` that can only report ``message``.

    Trouble in the framework (no memory for a snapshot, say) loses one record;
    it must not raise where the record was logged.
    """

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message

    def is_done(self) -> bool:
        """True: ``wait`` returns at once."""
        return True

    def wait(self) -> None:
        """Raises ``CaptureError``."""
        raise CaptureError(self.message)
