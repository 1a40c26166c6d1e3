"""Errors of the client, one type for each thing a caller can do about them.

A wrong argument raises ``TypeError`` or ``ValueError`` at the call. Trouble that
comes later, in the daemon or on the way to it, never raises in training code.
It is counted (``SummaryWriter.statistics``), logged once, and reported by
``flush`` and ``close``.
"""

from __future__ import annotations


class BoarddError(Exception):
    """Base of the client's own errors."""


class CaptureError(BoarddError):
    """A framework failed to deliver the values of a tensor; that record is lost."""


class AutostartError(BoarddError):
    """No daemon answers at an address and none could be started there."""


class NoDaemonError(AutostartError):
    """No daemon can be had at an address before somebody changes something.

    ``was_killed``: one was killed there, at whatever time, and may be restarted by whoever
    runs it.
    """

    def __init__(self, text: str, *, was_killed: bool = False) -> None:
        super().__init__(text)
        self.was_killed = was_killed
