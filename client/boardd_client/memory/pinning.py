"""Memory whose pages a device driver may register, so that it copies to them directly.

A registration must end before the memory is unmapped: the driver would go on
writing to the old pages when the addresses are used anew. Hence the map itself
runs what is to be done before that.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable


class PinnableMap(mmap.mmap):
    """A map of shared memory; the ``obj`` of every view of it.

    Only for ``MAP_SHARED``: a fork leaves private pages that a driver writes to
    with the child or the parent, whoever writes to them last.
    """

    #: Called once each, before the memory is unmapped; they must not raise.
    before_unmap: list[Callable[[], None]]

    def __new__(cls, fileno: int, length: int) -> PinnableMap:
        """Maps ``length`` bytes of ``fileno``; raises ``OSError``."""
        made = super().__new__(cls, fileno, length)
        made.before_unmap = []
        return made

    def close(self) -> None:
        """See ``mmap.close``."""
        self._run()
        super().close()

    def __del__(self) -> None:
        # Before the memory goes: the finalizer of a weak reference would come after.
        self._run()

    def _run(self) -> None:
        calls = getattr(self, "before_unmap", [])  # not there when mapping failed
        while calls:
            calls.pop()()
