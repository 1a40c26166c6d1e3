"""The process at the other end of a Unix socket, and whether it still runs."""

from __future__ import annotations

import asyncio
import os

from boardd_protos.local_socket import open_process


class PeerProcess:
    """The process ``pid``, watched until ``close``; for the event loop's thread only.

    Raises ``OSError`` when it cannot be watched: it is gone, lies in a pid namespace that is
    not visible from here, or there is no pidfd.
    """

    def __init__(self, pid: int) -> None:
        self._fd = open_process(pid)

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
    """Watches the process ``pid``; returns None when it cannot be watched."""
    try:
        return PeerProcess(pid)
    except OSError:
        return None
