"""The process at the other end of a Unix socket, and whether it still runs."""

from __future__ import annotations

import asyncio
import os


class PeerProcess:
    """The process ``pid``, watched until ``close``; for the event loop's thread only.

    Raises ``OSError`` where there is no such process to be seen: it is gone, or in a
    namespace of its own.
    """

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    async def has_ended(self, within_secs: float) -> bool:
        """Waits for its end; returns False when it still runs after ``within_secs``."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._fd, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), within_secs)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        finally:
            loop.remove_reader(self._fd)
        return True

    def close(self) -> None:
        """Watches it no more. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def watch(pid: int) -> PeerProcess | None:
    """Watches the process ``pid``; None where that cannot be."""
    try:
        return PeerProcess(pid)
    except (OSError, AttributeError):  # Python may be built without pidfd
        return None
