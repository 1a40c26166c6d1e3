"""The highest epoch that this process, or one that it was forked from, gave one run.

Writers of a process do not supersede their own: whoever of them tells a daemon of the run
tells this too, so that a daemon that comes later, or a forked child's session, counts none
of them as older than one that is closed by then.
"""

from __future__ import annotations


class LatestEpoch:
    """See the module. Sessions raise it, which lock."""

    def __init__(self) -> None:
        self.value = 0

    def raise_to(self, epoch: int) -> None:
        """Takes ``epoch`` if it is higher."""
        self.value = max(self.value, epoch)
