"""Readiness and liveness for systemd (``sd_notify(3)``): datagrams to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells the service manager about this process; does nothing if there is none.

    ``alive`` must be called at least every ``watchdog_secs`` seconds. It is None if no
    watchdog is set for this process.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_secs: float | None = None
        microseconds = environ.get("WATCHDOG_USEC", "")
        if (
            microseconds.isdigit()
            and int(microseconds)
            and environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        ):
            self.watchdog_secs = int(microseconds) / 1e6

    def ready(self, status: str) -> None:
        """Says that the service answers. ``status`` is one line for people."""
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        """Says that the service has begun to leave. ``status`` is one line for people."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Says that the service still makes progress."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # The manager may be gone or busy; the service must not suffer for it.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)
