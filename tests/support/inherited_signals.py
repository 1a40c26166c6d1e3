"""Signals that the session was started to ignore, as under nohup(1) or behind a ``trap ''``.

A process hands on what it ignores, but not its handlers. So the session goes on
past these signals with a handler, and what the tests start can be ended by them.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

#: What tests send to processes, and what the shells of background jobs ignore.
_SENT: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def keep_from_children() -> None:
    """Has processes started from now on begin with the default actions of signals."""
    for number in _SENT:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _go_on)
    # Ignored, it would take the exit codes of processes away.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _go_on(number: int, frame: FrameType | None) -> None:
    pass
