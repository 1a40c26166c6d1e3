"""A capture that failed before it began."""

from __future__ import annotations

from boardd_client.errors import CaptureError


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
